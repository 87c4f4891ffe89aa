package model

import (
	"bytes"
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"example.com/owner/sluice/internal/jsonscan"
	"example.com/owner/sluice/internal/mask"
)

// normalization is what a field's options make of a string before it is checked or masked.
type normalization struct {
	trim     bool
	letter   func(rune) rune // nil leaves letters as they are
	words    string          // what letter does
	strip    string          // characters to remove
	composes bool            // to the form below
	form     norm.Form
	idna     bool // an e-mail address has its canonical form
}

// maxPasses bounds how often the steps are repeated. Two suffice, but for rare combinations of
// case and unicode.
const maxPasses = 4

// normalize returns the normal form of a text: white space trimmed, letters in one case, characters
// removed, the Unicode form, and the canonical form of an address, in this order. What a later step
// does may give an earlier one more to do (removing the - of "- a" leaves a space before it), so they
// are repeated until nothing changes: a text in normal form is its own normal form, and keeps its
// mask. The result is valid until the next call.
//
// The Unicode form also comes first, because the steps see characters: İ is one, or I and a dot, and
// these have other letters in lower case. So texts that the form makes equal have one normal form.
//
// A text that is not an address stays as it is, for the type to reject.
//
// Letters change one by one, independent of language and position: ß and ŉ have no upper case, and
// every Σ becomes σ.
func (t *target) normalize(text []byte) []byte {
	o := &t.f.normalization
	text, _ = t.compose(text)
	for range maxPasses {
		changed := false
		if o.trim {
			n := len(text)
			text = bytes.TrimFunc(text, unicode.IsSpace)
			changed = len(text) < n
		}
		if o.letter != nil && bytes.ContainsFunc(text, func(r rune) bool { return o.letter(r) != r }) {
			out := t.other()
			for i := 0; i < len(text); {
				r, size := utf8.DecodeRune(text[i:])
				out = utf8.AppendRune(out, o.letter(r))
				i += size
			}
			text, changed = t.keep(out), true
		}
		if o.strip != "" && bytes.ContainsAny(text, o.strip) {
			out := t.other()
			for i := 0; i < len(text); {
				n := bytes.IndexAny(text[i:], o.strip)
				if n < 0 {
					out = append(out, text[i:]...)
					break
				}
				out = append(out, text[i:i+n]...)
				_, size := utf8.DecodeRune(text[i+n:])
				i += n + size
			}
			text, changed = t.keep(out), true
		}
		if out, composed := t.compose(text); composed {
			text, changed = out, true
		}
		if o.idna {
			if address, err := mask.CanonicalEmailIDNA(t.other(), text); err == nil && !bytes.Equal(address, text) {
				text, changed = t.keep(address), true
			}
		}
		if !changed {
			break
		}
	}
	return text
}

// compose returns a text in the Unicode form, and whether that is another one.
func (t *target) compose(text []byte) ([]byte, bool) {
	o := &t.f.normalization
	if !o.composes || o.form.IsNormal(text) {
		return text, false
	}
	return t.keep(o.form.Append(t.other(), text...)), true
}

// other returns the empty buffer that does not hold the text.
func (t *target) other() []byte { return t.normal[0][:0] }

// keep makes the buffer that was filled the one that holds the text.
func (t *target) keep(filled []byte) []byte {
	t.normal[0], t.normal[1] = t.normal[1], filled
	return filled
}

// Found is a mask that rows of a value have.
type Found struct {
	Mask []byte
	// As says which form of the value was masked; "" for the one that the model makes of it.
	As string
}

// LookUp lists the masks that rows of a value have: of the form that the field's options make of it,
// and if they differ, of the forms that it may have had before the model had these options: as it was
// typed, and for idna with the domain in Unicode.
func (f *Field) LookUp(m *mask.Masker, typed []byte) (all []Found, err error) {
	value := mask.NewPersonal()
	add := func(as string, text []byte, masks func(*mask.Masker, []byte, mask.Personal) ([]byte, error)) error {
		value.SetText(text)
		masked, err := masks(m, nil, value)
		if err == nil && !slices.ContainsFunc(all, func(known Found) bool { return bytes.Equal(known.Mask, masked) }) {
			all = append(all, Found{masked, as})
		}
		return err
	}
	normal := f.Normal(typed)
	if err := add("", normal, f.Mask); err != nil {
		return nil, err
	}
	// These may be no addresses, and then no row has their masks.
	if f.normalizes {
		_ = add("as typed", typed, f.how.mask)
	}
	if f.normalization.idna {
		_ = add("domain in Unicode", mask.EmailInUnicode(normal), f.how.mask)
	}
	return all, nil
}

// Changed reports whether an option of a field changes its value in the last body: its default is
// used, or its text is normalised. It is for people who want to see what a model does.
func (r *Reader) Changed(field int) bool {
	f := &r.m.Fields[field]
	return r.inAny(f, func() bool { return r.changed(f) })
}

func (r *Reader) changed(f *Field) bool {
	v := r.value(f)
	if v == nil {
		return f.Default != nil && !f.Constant
	}
	t := &target{f: f}
	if !f.List || v[0] != '[' {
		return t.changes(v)
	}
	for at := jsonscan.Space(v, 1); v[at] != ']'; {
		end := jsonscan.ValueEnd(v, at)
		if t.changes(v[at:end]) {
			return true
		}
		if at = jsonscan.Space(v, end); v[at] == ',' {
			at = jsonscan.Space(v, at+1)
		}
	}
	return false
}

// Present reports whether the last body has a value for a field that would be stored: one that is not
// null, or a default. The blank text of a field that is masked or required is none.
func (r *Reader) Present(field int) bool {
	f := &r.m.Fields[field]
	return r.inAny(f, func() bool { return r.present(f) })
}

func (r *Reader) present(f *Field) bool {
	v := r.value(f)
	switch {
	case v == nil:
		return f.Default != nil
	case v[0] != '"' || !f.Required && !f.Personal:
		return true
	}
	text, reason := (&target{f: f}).unquote(v)
	return reason != "" || !blank(f.Normal(text))
}

// changes reports whether a value is not in the field's normal form.
func (t *target) changes(v []byte) bool {
	if v[0] != '"' {
		return false
	}
	sent, reason := t.unquote(v)
	return reason == "" && !bytes.Equal(t.f.Normal(sent), sent)
}
