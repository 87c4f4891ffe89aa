package model

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"

	"example.com/owner/sluice/internal/jsonscan"
	"example.com/owner/sluice/internal/message"
)

// The limits of what unwrapping makes.
const (
	defaultUnwrapped = 8 << 20  // of one body
	maxUnwrapped     = 64 << 20 // of all bodies of a batch
)

// budget is how many bytes the bodies of a batch may unwrap to. Several readers may have to read a
// message until one takes it. Each may use what is left for the message, so that no message waits for
// more room than it needs.
type budget struct {
	most, left, spent int
	first             bool // the message has the budget of a whole batch: no later one has more room
}

// message begins with the next message.
func (b *budget) message() {
	b.left, b.spent = max(0, b.left-b.spent), 0
	b.first = b.left == b.most
}

// again runs read with what was left for the message before.
func (b *budget) again(read func()) {
	left := b.left
	read()
	b.left, b.spent = left, b.spent+left-b.left
}

// layer is one JSON document of a body: the body itself, or what a string in the layer before it
// holds.
type layer struct {
	codecs  []codec // how its text is made readable
	root    *node
	fields  bool   // fields read it
	next    int    // slot of the string that holds the next layer, -1 for the innermost
	unwraps string // the path of that string
}

// codec is a step of unwrap that makes another text of a text.
type codec struct {
	name   string
	reason message.Reason
	decode func(r *Reader, dst, text []byte, limit int) ([]byte, error)
}

var codecs = []codec{
	{"base64", message.ReasonNotBase64, decodeBase64},
	{"gzip", message.ReasonNotGzip, decodeGzip},
	{"zstd", message.ReasonNotZstd, decodeZstd},
}

// errTooLarge is for a text that is longer than its limit.
var errTooLarge = errors.New("too large")

func decodeBase64(_ *Reader, dst, text []byte, limit int) ([]byte, error) {
	if base64.StdEncoding.DecodedLen(len(text)) > limit+2 {
		return dst, errTooLarge
	}
	return base64.StdEncoding.AppendDecode(dst, bytes.TrimSpace(text))
}

func decodeGzip(r *Reader, dst, text []byte, limit int) ([]byte, error) {
	if r.gzip == nil {
		r.gzip = new(gzip.Reader)
	}
	r.packed.Reset(text)
	if err := r.gzip.Reset(&r.packed); err != nil {
		return dst, err
	}
	return readLimited(r.gzip, dst, limit)
}

func decodeZstd(r *Reader, dst, text []byte, limit int) ([]byte, error) {
	if r.zstd == nil {
		var err error
		// Without goroutines of its own. A frame names the window that it needs, which is allocated
		// before a byte is read; RFC 8878 has decoders take 8 MiB.
		window := uint64(max(r.m.MaxUnwrapped, defaultUnwrapped))
		if r.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window), zstd.WithDecoderLowmem(true)); err != nil {
			return dst, err
		}
	}
	r.packed.Reset(text)
	if err := r.zstd.Reset(&r.packed); err != nil {
		return dst, err
	}
	out, err := readLimited(r.zstd, dst, limit)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return out, errTooLarge
	}
	return out, err
}

// readLimited appends what in has, up to limit bytes.
func readLimited(in io.Reader, dst []byte, limit int) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := in.Read(dst[len(dst):min(cap(dst), limit+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > limit:
			return dst, errTooLarge
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst, err
		}
	}
}

// unwrap makes the text of a layer readable. The text is valid until the next message.
func (r *Reader) unwrap(l *layer, at int, text []byte) ([]byte, message.Verdict) {
	for i := range l.codecs {
		c := &l.codecs[i]
		limit := min(r.m.MaxUnwrapped, r.budget.left)
		out, err := c.decode(r, r.buffer(at + i)[:0], text, limit)
		r.buffers[at+i] = out
		r.budget.left = max(0, r.budget.left-len(out)) // also if it is rejected: it took its time
		switch {
		case errors.Is(err, errTooLarge) && limit == r.m.MaxUnwrapped:
			return nil, rejected(message.Rejection{Reason: message.ReasonTooLarge, Detail: "expected at most max_unwrapped_bytes"})
		case errors.Is(err, errTooLarge) && r.budget.first: // no later batch has more room
			return nil, rejected(message.Rejection{Reason: message.ReasonTooLarge, Detail: "expected at most 64 MiB from all steps of unwrap"})
		case errors.Is(err, errTooLarge):
			return nil, message.Verdict{Cause: message.CauseMemory}
		case err != nil:
			return nil, rejected(message.Rejection{Reason: c.reason})
		}
		text = out
	}
	return text, message.Verdict{}
}

func (r *Reader) buffer(i int) []byte {
	for len(r.buffers) <= i {
		r.buffers = append(r.buffers, nil)
	}
	return r.buffers[i]
}

// inner returns the text of the next layer, from the string at its slot.
func (r *Reader) inner(l *layer, at int) ([]byte, message.Verdict) {
	v := r.values[l.next]
	switch {
	case v == nil:
		return nil, rejected(message.Rejection{Reason: message.ReasonNotWrapped, Detail: r.notThere(l)})
	case v[0] != '"':
		return nil, rejected(message.Rejection{Reason: message.ReasonNotWrapped, Detail: l.unwraps + ": expected a string that holds JSON, found " + kindOf(v) + notWrappedRemedy(v)})
	}
	out, _, _ := jsonscan.AppendString(r.buffer(at)[:0], v, 0)
	r.buffers[at] = out
	return out, message.Verdict{}
}

// notThere says whether the string with the next layer is absent or null.
func (r *Reader) notThere(l *layer) string {
	p, _ := parsePath(l.unwraps) // it is one
	if n, null := p.null(r.documents[r.layer]); null {
		return p[:n].String() + " is null"
	}
	return l.unwraps + " is absent"
}

// layerName says which text of a body a layer is.
func (m *Model) layerName(i int) string {
	var steps []string
	for _, c := range m.layers[i].codecs {
		steps = append(steps, c.name)
	}
	name := "after unwrap"
	if len(steps) > 0 {
		name += " of " + enumerate(steps, "and")
	}
	if i > 0 {
		name += " in the text of " + m.layers[i-1].unwraps
	}
	return name
}

func notWrappedRemedy(v []byte) string {
	if v[0] == '{' {
		return "; paths reach into it without unwrap"
	}
	return ""
}
