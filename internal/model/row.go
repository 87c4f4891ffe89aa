package model

import (
	"bytes"
	"compress/gzip"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
)

// Reader turns bodies into rows. It reuses its memory, so it is for one goroutine.
type Reader struct {
	m      *Model
	keyID  string
	own    tableReader
	also   []tableReader // of the children
	now    time.Time     // when the batch was received
	budget *budget       // of all readers of a batch
	given  *Reader       // has read the first documents of the body; nil for none

	in      bytes.Buffer
	dec     *jsontext.Decoder
	large   bool         // dec has read a large document
	packed  bytes.Reader // what gzip or zstd reads
	gzip    *gzip.Reader
	zstd    *zstd.Decoder
	buffers [][]byte // the texts that unwrapping makes of one body, one for each step
	values  [][]byte // the raw JSON at the end of each path, nil if absent or null
	scratch []byte
	target  target

	// What walking a body finds beside values.
	texts      [maxLayers][]byte // of the layers
	documents  [maxLayers][]byte // in these texts
	shapes     []shapes          // of the layers
	gaps       []int             // where what is between two values begins
	asked      bool              // what it looks like
	seen       bool              // a member that a field reads
	wrongSteps []wrongStep
	otherCase  []*node       // names that differ from a path's in case only
	entered    func(n *node) // an object or an array that paths lead through
	unread     func(n *node, to Segment, follows []byte)
	layer      int
	scanned    bool // the last body could be read to its end
	unknown    bool // a member that the model does not read, and it rejects these

	attributeFields []attributeField
	badAttributes   []badAttribute
	attributeText   []byte // what was unescaped of the attributes of a message

	problems []message.Rejection
	omitted  int  // how many there are beside these
	nothing  bool // the body has none of the members that fields of the message read

	// Of a message whose elements are rows.
	rows      int                                 // how many it has
	size      int                                 // what the batch had before
	number    int                                 // of the element in its array, from 1; 0 outside of elements
	named     string                              // the table of the element
	inElement []byte                              // the element
	mark      int                                 // its first problem
	outer     struct{ wrongSteps, otherCase int } // what the message has of them
	filled    func(t *tableReader)                // a row is complete; nil for nothing to do
}

// tableReader is what a reader needs for the rows of one table.
type tableReader struct {
	m       *Model
	maskers []*mask.Masker // one per column, nil for a column that is not masked
	// repeats: two rows of one message can have one key, which the store would not tell.
	repeats bool
}

func (m *Model) tableReader(t *Model, keys *mask.Keyring) tableReader {
	out := tableReader{m: t, maskers: make([]*mask.Masker, len(t.Columns))}
	for i, c := range t.Columns {
		if c.Masked {
			out.maskers[i] = keys.Masker(m.Fields[c.Field].Domain)
		}
	}
	out.repeats = t.rows != nil && t.Table.Ledger == "" && t.Table.OnConflict != batch.Replace && !t.numbered()
	return out
}

// Reader returns a reader that masks with the given keys.
func (m *Model) Reader(keys *mask.Keyring) *Reader {
	r := &Reader{
		m: m, keyID: keys.ID(), own: m.tableReader(m, keys),
		values: make([][]byte, m.slots),
		shapes: make([]shapes, len(m.layers)),
		target: target{personal: mask.NewPersonal()},
		budget: &budget{most: maxUnwrapped, left: maxUnwrapped},
	}
	r.dec, r.attributeFields = new(jsontext.Decoder), m.attributeFields()
	for _, child := range m.Also {
		r.also = append(r.also, m.tableReader(child, keys))
	}
	if m.RejectUnknown {
		r.unread = func(*node, Segment, []byte) { r.unknown = r.unknown || r.layer == len(m.layers)-1 }
	}
	return r
}

// largeDocument is the size, in bytes, above which a document may leave the decoder with much memory:
// it keeps room for all names of an object.
const largeDocument = 64 << 10

// keptBuffer is the largest buffer that a reader keeps for the next batch.
const keptBuffer = 1 << 20

// Reset begins a batch that was received at a time.
func (r *Reader) Reset(received time.Time) {
	r.now = received
	*r.budget = budget{most: r.budget.most, left: r.budget.most}
	r.Release()
}

// Release ends a batch: the reader then refers to none of its messages, and has no memory that only a
// large one needs.
func (r *Reader) Release() {
	clear(r.values)
	clear(r.texts[:])
	clear(r.documents[:])
	for i := range r.shapes {
		r.shapes[i].forget()
	}
	r.problems, r.inElement = nil, nil
	r.in = bytes.Buffer{}
	if r.large {
		r.dec, r.large = new(jsontext.Decoder), false
	}
	r.dec.Reset(&r.in)
	r.packed.Reset(nil)
	for i := range r.buffers {
		if cap(r.buffers[i]) > keptBuffer {
			r.buffers[i] = nil
		}
	}
	if cap(r.attributeText) > keptBuffer {
		r.attributeText = nil
	}
	if cap(r.scratch) > keptBuffer {
		r.scratch = nil
	}
	if r.zstd != nil { // it keeps the window of the largest frame
		r.zstd.Close()
		r.zstd = nil
	}
	r.target.shrink()
}

func rejected(why message.Rejection) message.Verdict {
	return message.Verdict{Outcome: message.Rejected, Rejection: why}
}

// Append checks one message and appends its rows to the batch. Without a row it returns the verdict:
// the message is rejected, or returned because the batch has no room for it, or ignored because its
// array of rows is empty and the model allows that. index and group are the message's, for the batch.
func (r *Reader) Append(b *batch.Batch, index, group int, msg *message.Message) (verdict message.Verdict) {
	r.budget.message()
	r.append(b, 0, index, group, msg, &verdict)
	return verdict
}

// append does what Append does, for the table of the batch that has an index. (A Verdict is large: to
// return it for every message would cost some percent.)
func (r *Reader) append(b *batch.Batch, table, index, group int, msg *message.Message, verdict *message.Verdict) {
	switch {
	case !r.fill(b, table, index, group, msg, verdict):
	case r.problems != nil:
		b.Cancel()
		*verdict = r.verdict()
	case r.rows > 1 && b.Len() > 1 && (b.Rows() > maxBatchRows || b.Size() > maxBatchBytes):
		b.Cancel() // there is always room for the first message of a batch
		*verdict = message.Verdict{Cause: message.CauseMemory}
	}
}

// fill appends the rows of a message, with a NULL where a problem is why there is no value. For a
// message that cannot be read to its end, or has no row, it appends none, sets the verdict and returns
// false.
func (r *Reader) fill(b *batch.Batch, table, index, group int, msg *message.Message, verdict *message.Verdict) bool {
	r.problems, r.omitted, r.rows = nil, 0, 0
	if !msg.HasBody {
		*verdict = rejected(message.Rejection{Reason: message.ReasonNoBody})
		return false
	}
	if !msg.HasSent {
		*verdict = rejected(message.Rejection{Reason: message.ReasonNoSentTime})
		return false
	}
	if !r.scan(msg.Body, verdict) {
		return false
	}
	if len(r.attributeFields) > 0 {
		if why := r.readAttributes(msg.Attributes); !why.IsZero() {
			*verdict = rejected(why)
			return false
		}
	}
	r.nothing = !r.seen && r.m.reads && !r.m.AllowEmpty
	if len(r.otherCase) > 0 || r.unknown || r.nothing {
		r.bodyProblems()
	}
	if r.m.rows != nil {
		return r.fillSeveral(b, origin{table, index, group}, msg, verdict)
	}
	b.BeginIn(table, index, group)
	r.row(b, &r.own, msg, false)
	if len(r.also) > 0 {
		r.rows, r.size = 1, b.Size()
		for i := range r.also {
			r.appendElements(b, &r.also[i], i, origin{}, msg)
		}
		for i := range r.also {
			if r.also[i].repeats && r.problems == nil {
				r.repeated(b, &r.also[i], i)
			}
		}
	}
	return true
}

// fillSeveral does what fill does for a model whose rows are elements.
func (r *Reader) fillSeveral(b *batch.Batch, from origin, msg *message.Message, verdict *message.Verdict) bool {
	r.size = b.Size()
	switch n := r.appendElements(b, &r.own, -1, from, msg); {
	case n > 0:
		if r.own.repeats && r.problems == nil {
			r.repeated(b, &r.own, -1)
		}
		return true
	case r.problems != nil:
		*verdict = r.verdict()
	case r.m.AllowEmpty:
		verdict.Outcome = message.Ignored
	default:
		*verdict = rejected(message.Rejection{Reason: message.ReasonNoRows, Detail: r.noElements()})
	}
	return false
}

// row appends a value for each column of a table, and ends the row. nothing: the element has none of the
// members that fields read.
func (r *Reader) row(b *batch.Batch, t *tableReader, msg *message.Message, nothing bool) {
	again := r.number > 1
	for i := range t.m.Columns {
		c := &t.m.Columns[i]
		if again && !c.ofElement {
			b.Repeat(i)
			continue
		}
		if c.Field < 0 {
			if reason := r.meta(b, c, msg); reason != "" {
				b.Null() // the row is cancelled
				why := message.Rejection{Reason: reason, Column: c.Name}
				if reason == message.ReasonMissing {
					why.Detail = "expected a sequence number, which only messages of a FIFO queue have"
				}
				r.problem(why)
			}
			continue
		}
		f := &r.m.Fields[c.Field]
		reason := r.field(b, c, f, t.maskers[i])
		switch {
		case reason == "":
		case (c.ofElement && nothing || !c.ofElement && r.nothing) && reason == message.ReasonMissing && f.Attribute == "" && r.value(f) == nil:
			// the problem of the body, or of the element, says so
		case c.ofElement:
			r.elementProblem(r.because(f, reason))
		default:
			r.problem(r.because(f, reason))
		}
	}
	b.End()
	if r.filled != nil {
		r.filled(t)
	}
}

// problem adds a problem of the body, each once for a field.
func (r *Reader) problem(p message.Rejection) {
	known := slices.ContainsFunc(r.problems, func(q message.Rejection) bool {
		return q.Field == p.Field && q.Reason == p.Reason && (p.Field != "" || q.Detail == p.Detail)
	})
	if !known {
		r.problems = append(r.problems, p)
	}
}

// verdict returns the problems of the body as one rejection.
func (r *Reader) verdict() message.Verdict {
	why := r.problems[0]
	listed := min(len(r.problems), message.MaxProblems)
	why.More, why.Omitted = r.problems[1:listed], len(r.problems)-listed+r.omitted
	return rejected(why)
}

// bodyProblems adds what is wrong with the body as a whole.
func (r *Reader) bodyProblems() {
	for _, n := range r.otherCase {
		r.problem(message.Rejection{Reason: message.ReasonKeyCase, Field: n.field, Detail: "expected exactly " + n.path})
	}
	if r.unknown {
		r.problem(message.Rejection{Reason: message.ReasonUnknown})
	}
	if r.nothing {
		detail := r.lookalike()
		if required := r.requires(nil); required != "" {
			detail = joined(required, detail)
		}
		r.problem(message.Rejection{Reason: message.ReasonUnrecognized, Detail: detail})
	}
}

// requires lists the fields that a body, or an element of an array, must have; "" for none.
func (r *Reader) requires(of *elements) string {
	var required []string
	for i := range r.m.Fields {
		if f := &r.m.Fields[i]; f.of == of && f.Required && f.Default == nil && f.Attribute == "" {
			required = append(required, f.Name)
		}
	}
	if required == nil {
		return ""
	}
	return "required and missing: " + strings.Join(required, ", ")
}

// noElements says why there is no element.
func (r *Reader) noElements() string {
	array := &r.m.rows.array
	if r.value(array) != nil {
		return "expected an element in " + r.m.rows.name + ", found none"
	}
	return joined(r.absence(array), r.lookalike())
}

// lookalike describes the envelope that the innermost document looks like, to one problem of a body.
func (r *Reader) lookalike() string {
	if r.asked {
		return ""
	}
	r.asked = true
	return lookalike(r.m.layers[len(r.m.layers)-1].root, r.documents[len(r.m.layers)-1])
}

func joined(what, more string) string {
	if more == "" {
		return what
	}
	return what + "; " + more
}

// because returns the rejection for a field, with what was expected and what kind of value was found.
func (r *Reader) because(f *Field, reason message.Reason) message.Rejection {
	why := message.Rejection{Reason: reason, Field: f.Name}
	v := r.value(f)
	switch {
	case r.badAttribute(f).reason != "":
		why.Detail = r.badAttribute(f).detail
	case reason == message.ReasonWrongType && v == nil:
		for _, w := range r.wrongSteps {
			if w.stops(f) {
				why.Detail = w.at.path + ": expected " + w.expected() + ", found " + w.found
				break
			}
		}
	case reason == message.ReasonMissing && v == nil && f.Attribute != "":
		why.Detail = "expected the message attribute " + f.Attribute
	case reason == message.ReasonMissing && v == nil:
		why.Detail = r.absence(f)
		if f.of == nil && f.Layer == len(r.m.layers)-1 {
			why.Detail = joined(why.Detail, r.lookalike())
		}
	default:
		why.Detail = r.target.detail
	}
	return why
}

// absence says where a field is missing, and whether it is absent or null.
func (r *Reader) absence(f *Field) string {
	document := r.inElement
	if f.of == nil {
		document = r.documents[f.Layer]
	}
	for _, p := range f.Paths {
		if n, null := p.null(document); null {
			return "expected a value, found null at " + p[:n].String()
		}
	}
	detail := "expected a value, found nothing at " + paths(f.Paths)
	if f.of != nil && slices.ContainsFunc(f.Paths, f.of.begins) {
		detail += "; paths begin in the element, so leave " + f.of.array.Paths[0].String() + " out"
	}
	return detail
}

// paths joins paths that are alternatives.
func paths(all []Path) string {
	var texts []string
	for _, p := range all {
		texts = append(texts, p.String())
	}
	return enumerate(texts, "or")
}

var bom = []byte("\xef\xbb\xbf")

// scan finds the values of all fields, layer by layer. If it cannot, it sets the verdict and returns
// false.
func (r *Reader) scan(body []byte, verdict *message.Verdict) bool {
	clear(r.values)
	r.seen, r.unknown, r.asked, r.scanned = false, false, false, false
	r.wrongSteps, r.otherCase = r.wrongSteps[:0], r.otherCase[:0]
	text, at := body, 0
	for i := range r.m.layers {
		l := &r.m.layers[i]
		switch {
		case r.gives(i):
			text = r.given.texts[i]
		case len(l.codecs) > 0:
			if text, *verdict = r.unwrap(l, at, text); !verdict.IsZero() {
				return false
			}
		}
		at += len(l.codecs)
		r.layer, r.texts[i] = i, text
		if why, ok := r.read(l, text); !ok {
			if i > 0 || at > 0 {
				why.Detail = joined(r.m.layerName(i), why.Detail)
			}
			*verdict = rejected(*why)
			return false
		}
		if l.next < 0 {
			break
		}
		if !r.gives(i + 1) {
			if text, *verdict = r.inner(l, at); !verdict.IsZero() {
				return false
			}
		}
		at++
	}
	r.scanned = true
	return true
}

// gives reports whether another reader has read a layer of the body.
func (r *Reader) gives(layer int) bool { return r.given != nil && layer < len(r.given.m.layers) }

// Readable reports whether the last body could be read, unwrapped, to its end: otherwise no field has
// a value that counts.
func (r *Reader) Readable() bool { return r.scanned }

// read checks a document's syntax in one pass of the decoder, and then walks it beside the paths, unless
// the document has the shape of one before. If it cannot, it returns why.
func (r *Reader) read(l *layer, text []byte) (why *message.Rejection, ok bool) {
	sent := len(text)
	text = bytes.TrimPrefix(text, bom)
	if r.match(l, text) {
		return nil, true
	}
	problems := len(r.wrongSteps) + len(r.otherCase)
	document, why := r.document(text)
	if why != nil {
		return moved(*why, sent-len(text)), false
	}
	if document[0] != '{' && l.root.slot < 0 && len(l.root.elements) == 0 {
		return &message.Rejection{Reason: message.ReasonNotObject, Detail: "expected an object, found " + kindOf(document)}, false
	}
	r.documents[r.layer] = document
	seen := r.seen
	r.seen = false
	if document[0] == '{' || document[0] == '[' {
		r.walk(l.root, document, 0)
	} else {
		r.arrive(l.root, document)
	}
	if problems == len(r.wrongSteps)+len(r.otherCase) && !r.unknown {
		from := cap(text) - cap(document) // it is a part of the text
		r.learn(l, text, from, from+len(document))
	}
	if !l.fields {
		r.seen = seen
	}
	return nil, true
}

// document returns the one JSON value of a text, or why it has none.
func (r *Reader) document(text []byte) ([]byte, *message.Rejection) {
	if r.gives(r.layer) {
		return r.given.documents[r.layer], nil
	}
	r.in = *bytes.NewBuffer(text)
	r.dec.Reset(&r.in)
	r.large = r.large || len(text) > largeDocument
	document, err := r.dec.ReadValue()
	if err != nil {
		why := rejectSyntax(text, err)
		return nil, &why
	}
	// The decoder's value is valid only until its next read; this is the same text in the body.
	end := int(r.dec.InputOffset())
	if len(bytes.TrimLeft(text[end:], " \t\r\n")) > 0 {
		why := goesOn(text, end)
		return nil, &why
	}
	return text[end-len(document) : end], nil
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
	if u, ok := canonicalUUID(id); ok {
		return u
	}
	return uuid.NewSHA1(messageNamespace, []byte(id))
}

// canonicalUUID reads a UUID with digits in lower case. (uuid.Parse also takes others, and would be
// some percent of what a row costs.)
func canonicalUUID(id string) (u uuid.UUID, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return u, false
	}
	at := 0
	for i := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			at++ // the dash
		}
		high, low := hexDigits[id[at]], hexDigits[id[at+1]]
		if high == 0 || low == 0 {
			return u, false
		}
		u[i] = (high-1)<<4 | (low - 1)
		at += 2
	}
	return u, true
}

// hexDigits has one more than the value of each digit in base 16 in lower case, 0 for other characters.
var hexDigits = [256]byte{
	'0': 1, '1': 2, '2': 3, '3': 4, '4': 5, '5': 6, '6': 7, '7': 8, '8': 9, '9': 10,
	'a': 11, 'b': 12, 'c': 13, 'd': 14, 'e': 15, 'f': 16,
}

// field appends the value of one column, or returns the reason why it cannot.
func (r *Reader) field(b *batch.Batch, c *Column, f *Field, m *mask.Masker) message.Reason {
	if len(r.badAttributes) > 0 {
		if bad := r.badAttribute(f); bad.reason != "" {
			b.Null() // the row is cancelled
			return bad.reason
		}
	}
	v := r.value(f)
	if v == nil && len(r.wrongSteps) > 0 && slices.ContainsFunc(r.wrongSteps, func(w wrongStep) bool { return w.stops(f) }) {
		b.Null() // the row is cancelled
		return message.ReasonWrongType
	}
	if v == nil {
		v = f.Default
	}
	t := &r.target
	t.b, t.f, t.c, t.m = b, f, c, m
	return t.put(v)
}

// value returns the raw JSON of a field: at the first of its paths that is there and not null.
func (r *Reader) value(f *Field) []byte {
	for _, slot := range f.slots {
		if v := r.values[slot]; v != nil {
			return v
		}
	}
	return nil
}
