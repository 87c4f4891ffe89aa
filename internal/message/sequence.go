package message

import "strings"

// maxSequenceDigits is the length of the largest SequenceNumber: SQS says that it has 128 bits.
const maxSequenceDigits = 39

// ParseSequence returns a SequenceNumber as it came, or "" if it is not a number in decimal digits.
func ParseSequence(text string) string {
	if len(text) > maxSequenceDigits || strings.Trim(text, "0123456789") != "" {
		return ""
	}
	return text
}

// QueueName returns the name of the queue that the message came from, "" if that is not known.
func (m *Message) QueueName() string {
	return m.QueueARN[strings.LastIndexByte(m.QueueARN, ':')+1:]
}
