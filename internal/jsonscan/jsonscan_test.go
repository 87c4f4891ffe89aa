package jsonscan_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/jsonscan"
)

// checked returns the first value of a text, nil if jsontext finds none.
func checked(text []byte) (value []byte) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	value, _ = dec.ReadValue()
	return value
}

// compare compares AppendString with jsontext on one string.
func compare(t *testing.T, quoted []byte) {
	t.Helper()
	want, err := jsontext.AppendUnquote(nil, quoted)
	for _, surrounding := range []struct{ before, after string }{{"", ""}, {`["`, `","\\more text\u0000"]`}} {
		text := []byte(surrounding.before + string(quoted) + surrounding.after)
		for _, room := range []int{0, 1, 7, 64} {
			dst := append(make([]byte, 0, 6+room), "before"...)
			got, end, ok := jsonscan.AppendString(dst, text, len(surrounding.before))
			if end != len(surrounding.before)+len(quoted) {
				t.Fatalf("%.200q: got the end %d, want %d", text, end, len(surrounding.before)+len(quoted))
			}
			if ok != (err == nil) {
				t.Fatalf("%.200q: got ok %v, jsontext says %v", text, ok, err)
			}
			if !ok {
				want = nil
			}
			if !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Fatalf("%.200q: got %.200q, want %.200q", text, got, want)
			}
		}
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		``, `a`, `1234567`, `12345678`, `123456789`, `\"`, `\\`, `\\\"`, `\/\b\f\n\r\t`, `1234567\"`, `12345678\\`, `123456\"8\"0`,
		`{\"a\": \"b\", \"c\": [1, 2, {}]}`, `\u0041`, `\u00e9`, `\ud83d\ude00`, `é`, `日本語のテキスト`, `😀`, "\x7f",
		`\ud800`, `\udc00\ud800`, `\ud800\ud800`, `\ud800a`, `12345678\ud83d`, `\ud83d\ude0`, "\xff", "é\xc3", "\xc3\\\"\xa9", "12345678\xe2\x82", "\xed\xa0\x80", "\xc0\x80",
		`\u005c\u0022`, "\xff" + `\u0041`, "]!^[#", "\xa2\xdc",
	} {
		quoted := []byte(`"` + s + `"`)
		if checked(quoted) == nil { // half an escape
			continue
		}
		compare(t, quoted)
		for n := range 9 { // at each place of the eight bytes
			compare(t, []byte(`"`+strings.Repeat("x", n)+s+strings.Repeat("y", n)+`"`))
			compare(t, []byte(`"`+strings.Repeat(s, n)+`"`))
		}
	}
}

func TestIsPlain(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		for at := range 20 {
			text := bytes.Repeat([]byte("x"), 20)
			text[at] = byte(c)
			if got, want := jsonscan.IsPlain(text), c >= ' ' && c != '"' && c != '\\'; got != want {
				t.Errorf("%q: got %v, want %v", text, got, want)
			}
		}
	}
}

// TestStringsThatAreNone: AppendString takes none of them.
func TestStringsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `1"`, `"`, `"\`, `"\"`, `"a`, `"12345678`, `"\x"`, `"\u`, `"\u"`, `"\u12g4"`, `"\u1234`, `"\u0041\"`, "\"\n\"", "\"1234567\x00\"", "\"12345678\x1f01234567\""} {
		if out, _, ok := jsonscan.AppendString([]byte("x"), []byte(text), 0); ok || string(out) != "x" {
			t.Errorf("%q: got %q, %v", text, out, ok)
		}
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		`""`, `"a"`, `"\""`, `"\\"`, `"\\\""`, `0`, `-1.5e+3`, `true`, `null`, `{}`, `[]`, `[[],[{}]]`, `{"a":"}"}`, `{"\"]":["\\"]}`, `[1,"]",{"b":[2]}]`,
	} {
		for _, after := range []string{"", ",", "}", "]", " ", "\t", "\n", "\r"} {
			text := []byte(value + after)
			if got := jsonscan.ValueEnd(text, 0); got != len(value) {
				t.Errorf("ValueEnd(%q): got %d, want %d", text, got, len(value))
			}
		}
	}
}

// FuzzScan compares with jsontext what the functions find in any text that it takes: where a value
// ends, and the characters of each of its strings, valid Unicode or not.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`""`, `"\ud83d\ude00"`, `"\ud800"`, "\"\xff\"", `{"a":["b",1,true,null,{"c":"\"\\\/\b\f\n\r\t\u0041"}]}`, ` [1] `, `"12345678\"12345678"`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		// The text itself as a string, if it can be one.
		if quoted := []byte(`"` + string(text) + `"`); len(checked(quoted)) == len(quoted) {
			compare(t, quoted)
		}
		// A text whose syntax is not known.
		begun := []byte(`"` + string(text))
		if got, end, ok := jsonscan.AppendString(nil, begun, 0); ok {
			want, err := jsontext.AppendUnquote(nil, begun[:end])
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%q: got %q, want %q %v", begun, got, want, err)
			}
		}
		if quoted := []byte(`"` + string(text) + `"`); jsonscan.IsPlain(text) && (len(checked(quoted)) != len(quoted) || bytes.IndexByte(text, '\\') >= 0) {
			t.Fatalf("%q is not plain", text)
		}
		value := checked(text)
		if value == nil {
			return
		}
		for _, after := range []string{"", ",", "} ", "]"} {
			if got := jsonscan.ValueEnd([]byte(string(value)+after), 0); got != len(value) {
				t.Fatalf("%q: got a value of %d bytes, want %d", text, got, len(value))
			}
		}
		dec := jsontext.NewDecoder(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
		for {
			kind := dec.PeekKind()
			if kind != '"' {
				if _, err := dec.ReadToken(); err != nil {
					return
				}
				continue
			}
			quoted, err := dec.ReadValue()
			if err != nil {
				t.Fatal(err)
			}
			compare(t, bytes.Clone(quoted))
		}
	})
}

// FuzzMembers compares the walk over a valid object with the decoder's.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{}`, ` { "a" : 1 , "b":[{"x":"]}"}],"c":"\\\"","d":{},"e":-1.5e3 } `, `{"\\":"\\","":"","a":null}`, `{"a":[],"b":{"c":{"d":"}"}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		object := jsontext.Value(bytes.TrimSpace(text))
		if !object.IsValid() || object.Kind() != '{' {
			return
		}
		dec := jsontext.NewDecoder(bytes.NewReader(object))
		if _, err := dec.ReadToken(); err != nil {
			t.Fatal(err)
		}
		var want []string
		for dec.PeekKind() != '}' {
			v, err := dec.ReadValue()
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, string(v))
		}
		var got []string
		for m := jsonscan.FirstMember(object); m.Name != nil; m = m.Next(object) {
			got = append(got, string(m.Name), string(m.Value))
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%q: got(-) want(+):\n%s", object, diff)
		}
	})
}
