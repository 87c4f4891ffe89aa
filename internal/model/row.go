package model

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"sluice/internal/batch"
	"sluice/internal/mask"
	"sluice/internal/message"
)

// Reader turns bodies into rows. It reuses its memory, so it is for one goroutine.
type Reader struct {
	m       *Model
	keyID   string
	maskers []*mask.Masker // one per column, nil for a column that is not masked

	in       bytes.Buffer
	dec      *jsontext.Decoder
	values   [][]byte // the raw JSON of each field, nil if absent or null
	scratch  []byte
	personal mask.Personal
}

// Reader returns a reader that masks with the given keys.
func (m *Model) Reader(keys *mask.Keyring) *Reader {
	r := &Reader{
		m: m, keyID: keys.ID(),
		maskers:  make([]*mask.Masker, len(m.Columns)),
		values:   make([][]byte, len(m.Fields)),
		personal: mask.NewPersonal(),
	}
	r.dec = jsontext.NewDecoder(&r.in)
	for i, c := range m.Columns {
		if c.Masked {
			r.maskers[i] = keys.Masker(m.Fields[c.Field].Domain)
		}
	}
	return r
}

// Append checks one message and appends its row to the batch. A non-zero rejection says why it has
// no row. index and group are the message's, for the batch.
func (r *Reader) Append(b *batch.Batch, index, group int, msg *message.Message) message.Rejection {
	if !msg.HasBody {
		return message.Rejection{Reason: message.ReasonNoBody}
	}
	if !msg.HasSent {
		return message.Rejection{Reason: message.ReasonNoSentTime}
	}
	if bad := r.scan(msg.Body); !bad.IsZero() {
		return bad
	}
	b.Begin(index, group)
	for i := range r.m.Columns {
		c := &r.m.Columns[i]
		if c.Field < 0 {
			r.meta(b, c.Meta, msg)
			continue
		}
		f := &r.m.Fields[c.Field]
		if reason := r.field(b, i, c, f); reason != "" {
			b.Cancel()
			return message.Rejection{Reason: reason, Field: f.Name}
		}
	}
	b.End()
	return message.Rejection{}
}

var bom = []byte("\xef\xbb\xbf")

// scan checks the whole body's syntax in one pass of the decoder, and then finds the values of the
// fields.
func (r *Reader) scan(body []byte) message.Rejection {
	r.in = *bytes.NewBuffer(bytes.TrimPrefix(body, bom))
	r.dec.Reset(&r.in)
	object, err := r.dec.ReadValue()
	if err != nil {
		return rejectSyntax(err)
	}
	// The decoder's value is valid only until its next read; this is the same text in the body.
	end := r.dec.InputOffset()
	object = bytes.TrimPrefix(body, bom)[end-int64(len(object)) : end]
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return message.Rejection{Reason: message.ReasonNotJSON}
	}
	if object[0] != '{' {
		return message.Rejection{Reason: message.ReasonNotObject}
	}
	clear(r.values)
	next := 0 // most producers write the fields in one order
	var bad message.Rejection
	for m := firstMember(object); m.name != nil; m = m.next(object) {
		which := next
		if next == len(r.m.Fields) || !bytes.Equal(m.name, r.m.Fields[next].quoted) {
			which, bad = r.lookUp(m.name, bad)
		}
		if which < 0 {
			continue
		}
		next = which + 1
		if m.value[0] != 'n' { // null counts as absent
			r.values[which] = m.value
		}
	}
	return bad
}

// lookUp finds the field of a name with its quotes, -1 for none. It passes bad on, or returns a
// rejection if the name differs from a field's only in case: losing that value silently would be
// worse than losing the message.
func (r *Reader) lookUp(name []byte, bad message.Rejection) (int, message.Rejection) {
	if i, ok := r.m.fields[string(name)]; ok {
		return i, bad
	}
	text := name[1 : len(name)-1]
	if bytes.IndexByte(text, '\\') >= 0 {
		r.scratch, _ = jsontext.AppendUnquote(r.scratch[:0], name) // the decoder has checked it
		text = r.scratch
	}
	for i := range r.m.Fields {
		field := r.m.Fields[i].quoted
		field = field[1 : len(field)-1]
		if bytes.Equal(text, field) {
			return i, bad
		}
		if bytes.EqualFold(text, field) {
			return -1, message.Rejection{Reason: message.ReasonKeyCase, Field: r.m.Fields[i].Name}
		}
	}
	return -1, bad
}

// rejectSyntax turns a decoder's error into a rejection. The error itself quotes the body.
func rejectSyntax(err error) message.Rejection {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return message.Rejection{Reason: message.ReasonDuplicateKey}
	}
	return message.Rejection{Reason: message.ReasonNotJSON}
}

const dayMillis = 24 * 60 * 60 * 1000

func (r *Reader) meta(b *batch.Batch, m Meta, msg *message.Message) {
	switch m {
	case MetaSentAt:
		b.Int8((msg.SentMillis - batch.EpochMillis) * 1000)
	case MetaSentDate:
		b.Int4(days(msg.SentMillis - batch.EpochMillis))
	case MetaMessageID:
		id := messageUUID(msg.ID)
		b.Bytes(id[:])
	case MetaMaskKey:
		b.String(r.keyID)
	}
}

// days returns the number of whole days, rounded down before the epoch too.
func days(millis int64) int32 {
	d := millis / dayMillis
	if millis%dayMillis < 0 {
		d--
	}
	return int32(d) //nolint:gosec // up to the year 9999
}

// messageNamespace is the namespace of the version-5 UUIDs for messageIds that are not UUIDs (SQS's
// own always are, emulators' are not).
var messageNamespace = uuid.MustParse("d1f6b0a4-5f0e-4c39-9c57-6a1f1d1d3c52")

// messageUUID returns the UUID of a messageId: the id itself if it is a UUID in canonical form,
// which is lower case, otherwise a version-5 UUID in messageNamespace. That includes a UUID with an
// upper-case letter: two ids that differ only in case are two messages in an event and in its
// answer, and as one UUID they would be one row.
func messageUUID(id string) uuid.UUID {
	if len(id) == 36 {
		if u, err := uuid.Parse(id); err == nil && strings.ToLower(id) == id {
			return u
		}
	}
	return uuid.NewSHA1(messageNamespace, []byte(id))
}

// field appends the value of one column, or returns the reason why it cannot.
func (r *Reader) field(b *batch.Batch, column int, c *Column, f *Field) message.Reason {
	v := r.values[c.Field]
	if v == nil {
		return r.null(b, f)
	}
	if f.Personal {
		return r.masked(b, r.maskers[column], f, v)
	}
	if f.how.value != nil {
		return f.how.value(b, c, v)
	}
	text, reason := r.text(v)
	if reason != "" {
		return reason
	}
	if f.Required && len(bytes.TrimFunc(text, unicode.IsSpace)) == 0 {
		return message.ReasonMissing
	}
	return f.how.text(b, c, text)
}

func (r *Reader) null(b *batch.Batch, f *Field) message.Reason {
	if f.Required {
		return message.ReasonMissing
	}
	b.Null()
	return ""
}

func (r *Reader) masked(b *batch.Batch, m *mask.Masker, f *Field, v []byte) message.Reason {
	if v[0] != '"' {
		return message.ReasonWrongType
	}
	if err := r.personal.SetJSON(v); err != nil {
		return personalReason(err)
	}
	if r.personal.Blank() {
		return r.null(b, f)
	}
	return personalReason(b.AppendTo(func(dst []byte) ([]byte, error) { return f.Mask(m, dst, r.personal) }))
}

// personalReason returns the reason of an error about a personal value.
func personalReason(err error) message.Reason {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, mask.ErrNUL):
		return message.ReasonNUL
	case errors.Is(err, mask.ErrNotIP):
		return message.ReasonNotIP
	case errors.Is(err, mask.ErrNotEmail):
		return message.ReasonNotEmail
	default:
		return message.ReasonNotJSON
	}
}

// Mask appends the mask of a value of a personal field.
func (f *Field) Mask(m *mask.Masker, dst []byte, value mask.Personal) ([]byte, error) {
	return f.how.mask(m, dst, value)
}

// text returns the text of a JSON string, valid until the next call.
func (r *Reader) text(v []byte) ([]byte, message.Reason) {
	if v[0] != '"' {
		return nil, message.ReasonWrongType
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], "" // JSON has no bare NUL
	}
	r.scratch, _ = jsontext.AppendUnquote(r.scratch[:0], v) // the decoder has checked it
	if bytes.IndexByte(r.scratch, 0) >= 0 {
		return nil, message.ReasonNUL
	}
	return r.scratch, ""
}
