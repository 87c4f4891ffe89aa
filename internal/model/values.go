package model

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"github.com/google/uuid"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/jsonscan"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
)

// form is the form of JSON that a type reads.
type form uint8

const (
	anyForm form = iota
	stringForm
	numberForm
	booleanForm
)

// String returns the form in words.
func (f form) String() string {
	return [...]string{"a JSON value", "a string", "a number", "true or false"}[f]
}

// formOf returns the form of a JSON value, anyForm for null, an object or an array.
func formOf(v []byte) form {
	switch c := v[0]; {
	case c == '"':
		return stringForm
	case c == '-' || isDigit(c):
		return numberForm
	case c == 't' || c == 'f':
		return booleanForm
	default:
		return anyForm
	}
}

// target is where a value goes, and the memory that it needs on its way.
type target struct {
	b *batch.Batch
	f *Field
	c *Column
	m *mask.Masker // of a personal field

	element bool // the value is an element of a list
	// detail says what was expected, and what kind of value was found, where the reason does not: only
	// with words of the model.
	detail string

	unquoted, scratch []byte
	normal            [2][]byte
	personal          mask.Personal
}

// shrink gives back the memory of large values.
func (t *target) shrink() {
	if max(cap(t.unquoted), cap(t.scratch), cap(t.normal[0]), cap(t.normal[1])) > keptBuffer {
		*t = target{personal: mask.NewPersonal()}
	}
}

// put appends a value to the column, a NULL if there is none, or returns the reason why it cannot. It
// appends one value of the row in any case.
func (t *target) put(v []byte) message.Reason {
	t.detail, t.element = "", false
	var reason message.Reason
	switch {
	case v == nil:
		reason = t.null()
	case t.f.List:
		return t.list(v)
	default:
		reason = t.value(v)
	}
	if reason != "" {
		t.b.Null() // the row is cancelled
	}
	return reason
}

// null appends a NULL for a value that is absent or blank.
func (t *target) null() message.Reason {
	if t.f.Required {
		return message.ReasonMissing
	}
	t.b.Null()
	return ""
}

// maxElements bounds the elements of a list.
const maxElements = 10_000

// list appends an array. Its elements that are null are NULL.
func (t *target) list(v []byte) (reason message.Reason) {
	if v[0] != '[' {
		t.detail = "expected an array, found " + kindOf(v)
		t.b.Null()
		return message.ReasonWrongType
	}
	t.element = true
	t.b.BeginList()
	at := jsonscan.Space(v, 1)
	for n := 0; reason == "" && v[at] != ']'; n++ {
		end := jsonscan.ValueEnd(v, at)
		switch element := v[at:end]; {
		case n == maxElements:
			t.detail = "expected at most 10,000 elements"
			reason = message.ReasonTooMany
		case element[0] == 'n':
			t.b.Null()
		default:
			reason = t.value(element)
		}
		if at = jsonscan.Space(v, end); v[at] == ',' {
			at = jsonscan.Space(v, at+1)
		}
	}
	t.b.EndList()
	return reason
}

// value appends a value that is not null. It appends nothing if it returns a reason.
func (t *target) value(v []byte) message.Reason {
	text, reason := t.read(v)
	if reason != "" {
		return reason
	}
	if v[0] == '"' && (t.f.Required || t.f.Personal) && !t.element && blank(text) {
		if t.f.Required {
			t.detail = "expected a value, found a blank string"
		}
		return t.null()
	}
	if t.f.checked {
		if reason := t.check(text); reason != "" {
			return reason
		}
	}
	if !t.f.Personal {
		return t.f.how.put(t, text)
	}
	t.personal.SetText(text)
	err := t.b.AppendTo(func(dst []byte) ([]byte, error) { return t.f.Mask(t.m, dst, t.personal) })
	switch {
	case err == nil:
		return ""
	case errors.Is(err, mask.ErrNotIP):
		return message.ReasonNotIP
	default:
		return message.ReasonNotEmail
	}
}

// blank reports whether a text is only white space.
func blank(text []byte) bool {
	if len(text) > 0 && ' ' < text[0] && text[0] < utf8.RuneSelf { // most texts
		return false
	}
	return len(bytes.TrimFunc(text, unicode.IsSpace)) == 0
}

// read returns a value as the text that the field's type reads: the characters of a string, the
// digits of a number. It is valid until the next call.
func (t *target) read(v []byte) (text []byte, reason message.Reason) {
	reads, sent := t.f.reads(), formOf(v)
	switch {
	case reads == anyForm:
		return v, ""
	case sent == stringForm && (reads == stringForm || t.f.acceptString):
		if text, reason = t.unquote(v); reason != "" {
			return nil, reason
		}
		if t.f.normalizes {
			text = t.normalize(text)
		}
		if reads != stringForm {
			reason = t.standsFor(reads, text)
		}
		return text, reason
	case sent == numberForm && reads == stringForm && t.f.acceptNumber:
		if t.f.exact && (!plainInteger(v) || string(v) == "-0") {
			t.detail = "expected an integer without fraction and exponent, because equal numbers must be equal texts"
			return nil, message.ReasonNotInteger
		}
		return v, ""
	case sent == reads:
		return v, ""
	default:
		t.detail = "expected " + t.f.expects() + ", found " + kindOf(v)
		if t.element {
			t.detail = "expected only elements that are " + t.f.expects() + ", found " + kindOf(v)
		}
		return nil, message.ReasonWrongType
	}
}

// standsFor checks that the text of a string is a number or a boolean. A blank one of a required field
// is missing, which value finds out.
func (t *target) standsFor(reads form, text []byte) message.Reason {
	switch {
	case t.f.Required && !t.element && blank(text):
	case reads == numberForm && !isNumber(text):
		t.detail = "expected a number, found a string that is not one"
		return message.ReasonNotNumber
	case reads == booleanForm && string(text) != "true" && string(text) != "false":
		t.detail = "expected true or false, found a string that is neither"
		return message.ReasonNotBoolean
	}
	return ""
}

// unquote returns the text of a JSON string, whose syntax has been checked.
func (t *target) unquote(v []byte) ([]byte, message.Reason) {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], "" // JSON has no bare NUL
	}
	t.unquoted, _, _ = jsonscan.AppendString(t.unquoted[:0], v, 0)
	if bytes.IndexByte(t.unquoted, 0) >= 0 {
		return nil, message.ReasonNUL
	}
	return t.unquoted, ""
}

// Mask appends the mask of a value of a personal field.
func (f *Field) Mask(m *mask.Masker, dst []byte, value mask.Personal) ([]byte, error) {
	if f.normalization.idna {
		return m.AppendEmailIDNA(dst, value)
	}
	return f.how.mask(m, dst, value)
}

// appendText appends a text that its column can hold.
func appendText(t *target, text []byte) message.Reason {
	if n := t.c.Type.Length; n > 0 && len(text) > n && utf8.RuneCount(text) > n {
		t.detail = "expected at most " + strconv.Itoa(n) + " characters, which " + t.c.Type.String() + " holds"
		return message.ReasonTooLong
	}
	t.b.Bytes(text)
	return ""
}

// appendIP appends an address in its canonical form.
func appendIP(t *target, text []byte) message.Reason {
	address, err := mask.CanonicalIP(t.scratch[:0], text)
	t.scratch = address
	if err != nil {
		return message.ReasonNotIP
	}
	return appendText(t, address)
}

// appendEmail appends an address as it was sent, or as the field's options made it. White space
// around it is not part of an address, and a mask ignores it; a column would not.
func appendEmail(t *target, text []byte) message.Reason {
	canonical := mask.CanonicalEmail
	if t.f.normalization.idna {
		canonical = mask.CanonicalEmailIDNA
	}
	address, err := canonical(t.scratch[:0], text)
	t.scratch = address
	if err != nil || asciiSpace(text[0]) || asciiSpace(text[len(text)-1]) {
		return message.ReasonNotEmail
	}
	return appendText(t, text)
}

// appendVersion appends a version, or its major number.
func appendVersion(t *target, text []byte) message.Reason {
	major, ok := version(text)
	switch {
	case !ok:
		return message.ReasonNotVersion
	case t.c.Major:
		return appendInteger(t, major)
	default:
		return appendText(t, text)
	}
}

func asciiSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// version checks a version and returns the digits of its major number. A version is ASCII digits,
// any number of .digits, and optionally a suffix that begins with - or +. ASCII white space around
// it is ignored.
func version(text []byte) (major []byte, ok bool) {
	for len(text) > 0 && asciiSpace(text[0]) {
		text = text[1:]
	}
	for len(text) > 0 && asciiSpace(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	n := digits(text)
	major, text = text[:n], text[n:]
	for n > 0 && len(text) > 0 && text[0] == '.' {
		if n = digits(text[1:]); n > 0 {
			text = text[1+n:]
		}
	}
	if n == 0 {
		return nil, false
	}
	if len(text) == 0 {
		return major, true
	}
	if text[0] != '-' && text[0] != '+' {
		return nil, false
	}
	for _, c := range text[1:] {
		if !isDigit(c) && (c < 'A' || 'Z' < c) && (c < 'a' || 'z' < c) && c != '.' && c != '+' && c != '-' {
			return nil, false
		}
	}
	return major, true
}

// plainInteger reports whether a number has neither a fraction nor an exponent.
func plainInteger(v []byte) bool {
	v = bytes.TrimPrefix(v, []byte("-"))
	return digits(v) == len(v)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func digits(text []byte) int {
	n := 0
	for n < len(text) && isDigit(text[n]) {
		n++
	}
	return n
}

// bits returns the size of a type of numbers.
func bits(base string) int {
	switch base {
	case "smallint":
		return 16
	case "integer", "real":
		return 32
	default: // bigint and double precision
		return 64
	}
}

// appendInteger appends a number without fraction or exponent or, if the field accepts numbers, with
// ones that leave it an integer: 1.0, 1e3.
func appendInteger(t *target, v []byte) message.Reason {
	if !plainInteger(v) && !t.f.acceptNumber {
		t.detail = "expected an integer, found a number with a fraction or an exponent"
		return message.ReasonNotInteger
	}
	n, exact, ok := parseInteger(v)
	switch {
	case !ok:
		return t.outOfColumn()
	case !exact:
		t.detail = "expected an integer, found a number with a fraction"
		return message.ReasonNotInteger
	}
	kind, size := batch.Int8, 64
	if !t.c.Type.AsText {
		if size = bits(t.c.Type.Base); size < 64 {
			kind = batch.Int4
		}
	}
	if n>>(size-1) != n>>63 {
		return t.outOfColumn()
	}
	t.integer(kind, n)
	return ""
}

// parseInteger returns a number rounded down, and whether that is exact. ok is false if it is not an
// int64.
func parseInteger(v []byte) (n int64, exact, ok bool) {
	if !plainInteger(v) {
		return parseDecimal(v).integer(0)
	}
	if len(v) <= 18 && v[0] != '-' { // most
		for _, c := range v {
			n = 10*n + int64(c-'0')
		}
		return n, true, true
	}
	n, err := strconv.ParseInt(string(v), 10, 64) // faster than a decimal
	return n, true, err == nil
}

// integer appends a value of a kind that counts something, in its text form if the column's type
// reads texts.
func (t *target) integer(kind batch.Kind, n int64) {
	switch {
	case t.c.Type.AsText:
		t.bytes(kind, binary.BigEndian.AppendUint64(nil, uint64(n))) //nolint:gosec // the same bits
	case kind == batch.Int4 || kind == batch.Date:
		t.b.Int4(int32(n)) //nolint:gosec // within its bits
	default:
		t.b.Int8(n)
	}
}

// bytes appends a value in its kind's form, or in its text form if the column's type reads texts.
func (t *target) bytes(kind batch.Kind, v []byte) {
	if t.c.Type.AsText {
		v = kind.AppendText(nil, v)
	}
	t.b.Bytes(v)
}

func (t *target) outOfColumn() message.Reason {
	t.detail = "expected a number that " + t.c.Type.String() + " holds"
	return message.ReasonOutOfRange
}

// appendNumeric appends a number digit for digit. It rejects more digits before or after the point
// than the column has; Postgres would round them. Into a column of floats goes the float that is next
// to the number, as always with these types; a number beyond the greatest, or one that is not zero
// and would become zero, is rejected.
func appendNumeric(t *target, v []byte) message.Reason {
	n := parseDecimal(v)
	switch base := t.c.Type.Base; {
	case (base == "real" || base == "double precision") && !t.c.Type.AsText:
		return appendFloat(t, v, n.zero())
	case n.zero() && !n.bounded():
		t.b.String("0") // Postgres refuses 0e-99999
		return ""
	case n.zero(): // however it is written
	case !n.bounded(), t.c.Type.Length > 0 && (n.before > t.c.Type.Length-t.c.Type.Scale || n.after() > t.c.Type.Scale):
		t.detail = "expected a number with at most " + strconv.Itoa(maxNumericDigits) + " digits before and after the point"
		if t.c.Type.Length > 0 {
			t.detail = "expected a number with as many digits as " + t.c.Type.String() + " has"
		}
		return message.ReasonOutOfRange
	}
	t.b.Bytes(v)
	return ""
}

func appendFloat(t *target, v []byte, zero bool) message.Reason {
	size := bits(t.c.Type.Base)
	// ParseFloat keeps its argument only in an error, which is dropped here.
	f, err := strconv.ParseFloat(unsafe.String(&v[0], len(v)), size) //nolint:gosec // see above
	if err != nil || f == 0 && !zero {
		return t.outOfColumn()
	}
	if size == 32 {
		t.b.Float4(float32(f))
	} else {
		t.b.Float8(f)
	}
	return ""
}

func appendBoolean(t *target, v []byte) message.Reason {
	if t.c.Type.AsText {
		t.b.Bytes(v)
	} else {
		t.b.Bool(v[0] == 't')
	}
	return ""
}

// appendUUID appends a UUID in the form of 36 characters or, if the format is simple, of 32 digits,
// in upper or lower case.
func appendUUID(t *target, text []byte) message.Reason {
	length := len("6f1c2f0e-3f43-4d0e-9f5a-3c9b6a1d2e01")
	if t.f.format == formatSimple {
		length = len("6f1c2f0e3f434d0e9f5a3c9b6a1d2e01")
	}
	id, err := uuid.ParseBytes(text)
	if err != nil || len(text) != length {
		t.detail = "expected " + strconv.Itoa(length) + " characters, digits in base 16"
		if length == 36 {
			t.detail = "expected 36 characters, with dashes"
		}
		return message.ReasonNotUUID
	}
	t.bytes(batch.UUID, id[:])
	return ""
}

// strictBase64 is RFC 4648's standard alphabet with padding; no two texts are the same bytes.
var strictBase64 = base64.StdEncoding.Strict()

// appendBase64 appends the bytes of a base64 text.
func appendBase64(t *target, text []byte) (reason message.Reason) {
	var err error
	t.scratch, err = strictBase64.AppendDecode(t.scratch[:0], text)
	if err != nil || bytes.ContainsAny(text, "\r\n") { // which the decoder skips
		t.detail = "expected base64 in the standard alphabet, with padding and without line breaks"
		return message.ReasonNotBase64
	}
	t.bytes(batch.Binary, t.scratch)
	return ""
}
