// Package infer drafts a model from a sample of bodies, and from a table that exists. It looks at one
// body after another and keeps counts of what it has seen, so a sample may have any length.
//
//	bodies -> Sample.Add -> Sample.Draft -> the text of a model file
//
// A type is drafted only if a model with it accepts every value of the sample: the rules are those
// of package model. What looks personal is masked until a person has looked at it. A draft has no
// value of a body, and no name that looks like a value.
//
// It imports batch, mask, message and model.
package infer

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"hash/maphash"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/klauspost/compress/zstd"
)

// Sample is what is known of a sample of bodies. It is for one goroutine.
type Sample struct {
	// Bodies, and those of them that no model reads: they are not JSON, have a name twice, or are not
	// an object.
	Bodies, NotJSON, NotObject int

	table    *Table
	catalog  *catalog
	jsonForm *form
	zstd     *zstd.Decoder

	documents     // of the bodies themselves
	nodes     int // that are known
	hashed    int // that are kept
	sets      int // bytes of sets of names that may still be kept
	shapeIDs  int
	walk      *walker
	layer     int
}

// document is what texts were read as, by one list of steps, in one envelope.
type document struct {
	steps    []string // base64, gzip
	envelope string   // of the bodies themselves; "" within them
	root     *node
	count    int
	// shapes are the sets of members that its bodies have; unshaped: there were too many.
	shapes   map[string]bool
	unshaped bool
}

type documents []*document

func (d *documents) of(s *Sample, steps []string, envelope string) *document {
	for _, known := range *d {
		if known.envelope == envelope && slices.Equal(known.steps, steps) {
			return known
		}
	}
	added := &document{steps: steps, envelope: envelope, root: s.newNode(""), shapes: map[string]bool{}}
	*d = append(*d, added)
	return added
}

// New returns an empty sample. The table is nil if there is none yet.
func New(t *Table) *Sample {
	s := &Sample{table: t, catalog: newCatalog(), jsonForm: newJSON("jsonb"), sets: maxSets}
	s.zstd, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBytes)) // the options are valid
	s.walk = &walker{Sample: s, seed: maphash.MakeSeed(), names: map[string]trait{}}
	return s
}

func (s *Sample) newNode(name string) *node {
	s.nodes++
	return &node{id: s.nodes, name: strings.Clone(name)}
}

var bom = []byte("\xef\xbb\xbf")

// Add looks at one body.
func (s *Sample) Add(body []byte) {
	s.Bodies++
	steps, object, ok := s.unwrap(bytes.TrimPrefix(body, bom))
	switch {
	case !ok:
		s.NotJSON++
		return
	case object[0] != '{':
		s.NotObject++
		return
	}
	d := s.of(s, steps, envelopeOf(object))
	d.count++
	s.walk.shape = s.walk.shape[:0]
	s.walk.object(d.root, object, nil)
	s.shaped(d, s.walk.shape)
}

// shaped remembers a set of members.
func (s *Sample) shaped(d *document, ids []int) {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var key []byte
	for _, id := range ids {
		key = binary.AppendUvarint(key, uint64(id)) //nolint:gosec // ids are positive
	}
	switch {
	case d.shapes[string(key)]:
	case len(d.shapes) >= maxShapes || s.shapeIDs > maxHashes:
		d.unshaped = true
	default:
		s.shapeIDs += len(ids)
		d.shapes[string(key)] = true
	}
}

// without reports whether a body may have none of the given members.
func (d *document) without(ids map[int]bool) bool {
	for key := range d.shapes {
		some := false
		for rest := []byte(key); len(rest) > 0; {
			id, n := binary.Uvarint(rest)
			rest = rest[n:]
			some = some || ids[int(id)] //nolint:gosec // it was an int
		}
		if !some {
			return true
		}
	}
	return d.unshaped
}

// unwrap reads a text as JSON, by steps if it is not JSON itself.
func (s *Sample) unwrap(text []byte) (steps []string, value []byte, ok bool) {
	if v, ok := readJSON(text); ok {
		return nil, v, true
	}
	raw, ok := decode64(text)
	if !ok {
		return nil, nil, false
	}
	steps = []string{"base64"}
	switch {
	case bytes.HasPrefix(raw, []byte("\x1f\x8b")):
		steps = append(steps, "gzip")
		in, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, nil, false
		}
		if raw, err = io.ReadAll(io.LimitReader(in, maxBytes+1)); err != nil {
			return nil, nil, false
		}
	case bytes.HasPrefix(raw, []byte("\x28\xb5\x2f\xfd")):
		steps = append(steps, "zstd")
		var err error
		if raw, err = s.zstd.DecodeAll(raw, nil); err != nil {
			return nil, nil, false
		}
	}
	if len(raw) > maxBytes {
		return nil, nil, false
	}
	v, ok := readJSON(bytes.TrimPrefix(raw, bom))
	return steps, v, ok
}

// readJSON returns the one JSON value of a text, without white space around it.
func readJSON(text []byte) (value []byte, ok bool) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(text))
	value, err := dec.ReadValue()
	if err != nil {
		return nil, false
	}
	value = bytes.Clone(value)
	_, err = dec.ReadToken()
	return value, err == io.EOF //nolint:errorlint // documented as such
}

// decode64 decodes standard base64 that may begin a document: of {" or of what is compressed.
func decode64(text []byte) ([]byte, bool) {
	text = bytes.TrimSpace(text)
	if len(text) < 8 || !slices.ContainsFunc([]string{"ey", "ew", "eA", "H4sI", "KLUv", "W", "7"}, func(p string) bool { return bytes.HasPrefix(text, []byte(p)) }) {
		return nil, false
	}
	raw, err := base64.StdEncoding.AppendDecode(nil, text)
	return raw, err == nil
}

// embed reads the text of a string as a document of its own, as SNS sends it, and returns the signs
// in it.
func (w *walker) embed(n *node, text []byte) trait {
	if len(text) < 2 || w.layer == 2 || text[0] != '{' && text[0] != ' ' && text[0] != '\n' && text[0] != 'e' && text[0] != 'H' && text[0] != 'K' {
		return 0
	}
	steps, object, ok := w.unwrap(text)
	if !ok || object[0] != '{' {
		return 0
	}
	d := n.embedded.of(w.Sample, steps, "")
	d.count++
	w.layer++
	w.object(d.root, object, nil)
	w.layer--
	return w.within(object, n.name)
}
