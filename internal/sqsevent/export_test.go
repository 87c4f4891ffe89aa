package sqsevent

import "example.com/owner/sluice/internal/message"

// DecodeAny reads an event as if no records were alike.
func DecodeAny(event []byte) ([]message.Message, error) {
	d := Decoder{event: event}
	if err := d.readAny(); err != nil {
		return nil, err
	}
	return d.messages, nil
}

// Alike reports whether an event is read by the shape of its records.
func Alike(event []byte) bool {
	d := Decoder{event: event}
	return d.readAlike()
}
