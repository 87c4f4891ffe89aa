package model_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"example.com/owner/sluice/internal/model"
)

// normalizers returns a field for each combination of options that normalise a text.
func normalizers(t testing.TB) (fields []model.Field) {
	t.Helper()
	for _, trim := range []string{"", ", trim: true"} {
		for _, letters := range []string{"", ", case: lower", ", case: upper"} {
			for _, strip := range []string{"", `, strip: " -aÅ"`} {
				for _, form := range []string{"", ", unicode: nfc", ", unicode: nfkc"} {
					fields = append(fields, one(t, "type: text"+trim+letters+strip+form, "text", "").Fields[0])
				}
			}
		}
	}
	for _, more := range []string{"", ", trim: true, case: lower", ", unicode: nfkc, strip: 'é '"} {
		fields = append(fields, one(t, "type: email, personal: true, idna: true"+more, "text, masked: true", "").Fields[0])
	}
	return fields
}

// FuzzNormal: whatever options there are, a normal form is its own normal form.
func FuzzNormal(f *testing.F) {
	fields := normalizers(f)
	for _, s := range []string{" A- ", "\u2103", "\u00a8", "- a", "\u212b", "\u0130", "ﬃ", "\u1e9e", "\u03d3\u0301", "a\u0315\u0300\u05ae", "\ufdfa", "ǅ", "H\u0331@Bücher.example.", " é@ａ。b\n", "a@xn--bcher-kva.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "")
		for i := range fields {
			normal := fields[i].Normal([]byte(s))
			if again := fields[i].Normal(normal); !bytes.Equal(again, normal) {
				t.Errorf("%d: %q became %q and then %q", i, s, normal, again)
			}
		}
	})
}

// TestEquivalentTexts: texts that a Unicode form makes equal have one normal form, also if there are
// other options, and it is a fixed point of all of them.
func TestEquivalentTexts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		nfkc            bool
		decomposed, nfc norm.Form
	}{
		{"nfc", false, norm.NFD, norm.NFC},
		{"nfkc", true, norm.NFKD, norm.NFKC},
	} {
		var fields []model.Field
		for _, options := range []string{", case: lower, trim: true", ", case: upper, strip: \"\u0307\u0323ıéİ\""} {
			fields = append(fields, one(t, "type: text, unicode: "+tt.name+options, "text", "").Fields[0])
		}
		texts := []string{"q\u0323\u0307", "I\u0307nan", "\u0130nan", "\u1e9b\u0323", "a\u0315\u0300\u05aeb"}
		for r := rune(0x80); r < 0x30000; r++ {
			if unicode.Is(unicode.Lo, r) && r > 0x2fff && r%50 > 0 { // syllables and ideographs have no case
				continue
			}
			if text := string(r); !tt.decomposed.IsNormalString(text) {
				texts = append(texts, text)
			}
		}
		if len(texts) < 1000 {
			t.Fatalf("%s: only %d characters have a decomposition", tt.name, len(texts))
		}
		for _, text := range texts {
			spellings := []string{tt.decomposed.String(text), tt.nfc.String(text)}
			if marks := []rune(spellings[0]); len(marks) == 3 { // in the other order, if that is the same
				marks[1], marks[2] = marks[2], marks[1]
				if tt.nfc.String(string(marks)) == spellings[1] {
					spellings = append(spellings, string(marks))
				}
			}
			spellings = slices.Compact(spellings)
			for i := range fields {
				want := fields[i].Normal([]byte(text))
				if got := fields[i].Normal(want); !bytes.Equal(got, want) {
					t.Errorf("%s %d: %+q became %+q and then %+q", tt.name, i, text, want, got)
				}
				for _, s := range spellings {
					if got := fields[i].Normal([]byte(s)); !bytes.Equal(got, want) {
						t.Errorf("%s %d: %+q became %+q, but %+q became %+q", tt.name, i, text, want, s, got)
					}
				}
			}
		}
	}
}
