package mask_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/mask"
)

// TestOneMailboxIsOneText: the spellings of an international address, and what they all become.
func TestOneMailboxIsOneText(t *testing.T) {
	t.Parallel()
	for want, spellings := range map[string][]string{
		"ann@xn--bcher-kva.example": {
			"ann@bücher.example", "Ann@BÜCHER.example", "ann@bu\u0308cher.example", "ann@xn--bcher-kva.example", "ann@XN--BCHER-KVA.EXAMPLE", "ann@bücher.example.",
			"ann@xn--bcher-kva.example.", "ann@bücher。example", "ann@bücher．example｡", "ann@ｂüｃｈｅｒ.ｅｘａｍｐｌｅ", " ann@bücher.example\n", "ann@bü\u00adcher.example",
		},
		"ann@example.com":            {"ann@example.com", "ANN@EXAMPLE.COM", "ann@example.com.", "ann@example。com", "ann@ｅｘａｍｐｌｅ．ｃｏｍ", "ann@example.com｡"},
		"ann@xn--strae-oqa.de":       {"ann@straße.de", "ann@STRAẞE.de"},
		"ann@strasse.de":             {"ann@strasse.de"},
		"ann@xn--8ws00zhy3a.com":     {"ann@詹姆斯.com"},
		"ren\u00e9@example.com":      {"ren\u00e9@example.com", "rene\u0301@Example.com", "RENe\u0301@example.com."},
		"ren\u00c9@example.com":      {"REN\u00c9@example.com", "RENE\u0301@example.com"}, // only ASCII letters are lower-cased
		"\u1e96@example.com":         {"\u1e96@example.com", "h\u0331@example.com", "H\u0331@example.com"},
		"k@example.com":              {"\u212a@example.com", "K@example.com"},
		"a_b@my_host.example":        {"A_b@my_host.example"}, // the option is no stricter about ASCII
		"ann@[192.0.2.1]":            {"ann@[192.0.2.1]"},
		"ann@r3---sn-a.example":      {"ann@r3---sn-a.example"},
		"ａｎｎ@example.com":            {"ａｎｎ@example.com"}, // unicode: nfkc makes it ann
		"o'brien+tag@example.com":    {"O'Brien+Tag@example.com"},
		"用户@xn--fsqu00a.xn--0zwm56d": {"用户@例子.测试", "用户@例子。测试"},
	} {
		for _, s := range append(spellings, want) {
			got, err := mask.CanonicalEmailIDNA([]byte("before "), []byte(s))
			if err != nil || string(got) != "before "+want {
				t.Errorf("%q: got %q, %v, want %q", s, got, err, want)
			}
		}
	}
}

func TestEmailInUnicode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ann@xn--bcher-kva.example": "ann@bücher.example", "ann@bücher.example": "ann@bücher.example", "ann@example.com": "ann@example.com", "ann@xn--a.example": "ann@xn--a.example", "ann": "ann", "": "",
	} {
		if got := mask.EmailInUnicode([]byte(text)); string(got) != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestNotOneMailbox(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "ann", "ann@", "@bücher.example", "ann＠bücher.example", "ann@bücher..example", "ann@.", "ann@..", "ann@example.com..", "ann@。", "ann@\u00ad", "ann@xn--a.example",
		"ann@xn--.example", "ann@xn--bcher-kv a.example", "ann@bü_cher.example", "ann@b＠ücher.example", "ann@bü，cher.example", "ann@-bücher.example", "ann@bücher\u200b\u2028.example",
		"ann@xn--99zzzzzzzzz.example", "ann@" + strings.Repeat("ü", 70) + ".example", "ann@" + strings.Repeat("bücher.", 50) + "example", strings.Repeat("ü", 200) + "@bücher.example",
		strings.Repeat("a", 1<<16) + "@bücher.example", "ann@" + strings.Repeat("ü.", 1<<15) + "example", "ann@\u0627a.example", "ann@0\u2135", "ann@bücher.example; b@c.example",
	} {
		if got, err := mask.CanonicalEmailIDNA(nil, []byte(s)); !errors.Is(err, mask.ErrNotEmail) || len(got) != 0 {
			t.Errorf("%.40q: got %q, %v", s, got, err)
		}
	}
}

// TestIDNAKeepsOtherMasks: without the option nothing changes, and with it an ASCII address keeps
// its mask.
func TestIDNAKeepsOtherMasks(t *testing.T) {
	t.Parallel()
	m := mask.Unkeyed().Masker("d")
	for _, s := range []string{"ann.lee@example.com", " Ann.Lee@Example.COM ", "a@b", "a_b@c_d.e", `"a"@b`} {
		before, err := m.AppendEmail(nil, personal(s))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.AppendEmailIDNA(nil, personal(s)); err != nil || !bytes.Equal(got, before) {
			t.Errorf("%q: got %s, %v, want %s", s, got, err, before)
		}
	}
	p := mask.NewPersonal()
	p.SetText([]byte("bücher.example"))
	asSent, _ := m.AppendText(nil, p)
	for _, domain := range []string{"bücher.example", "xn--bcher-kva.example"} { // two masks, as ever
		p.SetText([]byte("ann@" + domain))
		want, _ := m.AppendText(nil, p)
		if got, err := m.AppendEmail(nil, p); err != nil || !bytes.Equal(got, want) || bytes.Equal(got, asSent) {
			t.Errorf("%s: got %s, %v, want %s", domain, got, err, want)
		}
	}
}

// FuzzCanonicalEmail: the canonical form is a fixed point, no longer than an address, and equals the
// plain one for ASCII without A-labels.
func FuzzCanonicalEmail(f *testing.F) {
	for _, s := range []string{"ann@bücher.example", "Ann@XN--BCHER-KVA.example.", "ann@ｅｘ。com｡", "H\u0331@x", "\u212a@x", "a@b..", "a@\u0130.x", "a@ß\u200d.x", "a@xn--a-ecp.ru", "\xff@ü", "a@\xff.ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := mask.CanonicalEmailIDNA(nil, []byte(s))
		if err != nil {
			if err != mask.ErrNotEmail || len(got) != 0 { //nolint:errorlint // exactly this value: an error that wraps it could quote
				t.Errorf("%q: %q %v", s, got, err)
			}
			return
		}
		if again, err := mask.CanonicalEmailIDNA(nil, got); err != nil || !bytes.Equal(again, got) || len(got) > 254 {
			t.Errorf("%q became %q and then %q, %v", s, got, again, err)
		}
		plain, err := mask.CanonicalEmail(nil, []byte(s))
		if err == nil && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWYZ0123456789@. ") == "" && !bytes.HasSuffix(plain, []byte(".")) && !bytes.Equal(got, plain) {
			t.Errorf("%q: %q with the option, %q without", s, got, plain)
		}
	})
}

// BenchmarkCanonicalEmail shows what the option costs, by what is in the address.
func BenchmarkCanonicalEmail(b *testing.B) {
	for _, s := range []string{"ann.lee@example.com", "ann.lee@xn--bcher-kva.example", "ann.lee@bücher.example", "rené@example.com"} {
		b.Run(s, func(b *testing.B) {
			dst := make([]byte, 0, 256)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := mask.CanonicalEmailIDNA(dst, []byte(s)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
