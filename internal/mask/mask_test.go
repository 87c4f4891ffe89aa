package mask_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/mask"
)

const testKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func personal(text string) mask.Personal {
	p := mask.NewPersonal()
	p.SetText([]byte(text))
	return p
}

type appendFunc func(*mask.Masker, []byte, mask.Personal) ([]byte, error)

func TestVectors(t *testing.T) {
	keyed, err := mask.ParseKeys("k1:" + testKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, domain, text string
		keys               *mask.Keyring
		append             appendFunc
		want               string
	}{
		{"IPv4", "user_logins.ip", "203.0.113.7", keyed, (*mask.Masker).AppendIP, "b42adbf209538193ee85f7c6b4ccd8f607372f9f27ad6cf8f14eeba6648fc09d"},
		{"IPv6", "user_logins.ip", "2001:db8::1", keyed, (*mask.Masker).AppendIP, "d2a657cb49ef37dd554338462719cfc2e62b79c1f81f481dd82434d452a7675a"},
		{"device", "user_logins.device_id", "593-47-5928", keyed, (*mask.Masker).AppendText, "a7a43b0e76ecb508f5a9e96a850659732df4fd75c8434e65d6991e88406f0cc7"},
		{"an address in another domain", "user_logins.device_id", "203.0.113.7", keyed, (*mask.Masker).AppendText, "78ff62cee7049ac0cd8e4dad907dab6a4c6217bf8b1a48773a66157207b68540"},
		{"unkeyed", "user_logins.device_id", "593-47-5928", mask.Unkeyed(), (*mask.Masker).AppendText, "4f00c1a807b673887c7af517d0df68e6b41aecf8cbec26c71fe4c580664669ed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.keys.Masker(tt.domain)
			for range 2 { // the state of the hash must not leak into the next one
				got, err := tt.append(m, nil, personal(tt.text))
				if err != nil || string(got) != tt.want {
					t.Errorf("got %s, %v, want %s", got, err, tt.want)
				}
			}
		})
	}
}

func TestOneAddressHasOneMask(t *testing.T) {
	m := mask.Unkeyed().Masker("d")
	for _, spellings := range [][]string{
		{"203.0.113.7", " 203.0.113.7\n", "::ffff:203.0.113.7", "::FFFF:cb00:7107", "0:0:0:0:0:ffff:203.0.113.7"},
		{"2001:db8::1", "2001:DB8::1", "2001:0db8:0000:0000:0000:0000:0000:0001", "\t2001:db8:0::1 "},
		{"127.0.0.1"},
		{"0.0.0.0"},
		{"::"},
	} {
		want, err := m.AppendIP(nil, personal(spellings[0]))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range spellings[1:] {
			if got, err := m.AppendIP(nil, personal(s)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%q: got %s, %v, want %s", s, got, err, want)
			}
		}
	}
}

func TestNotOneAddress(t *testing.T) {
	m := mask.Unkeyed().Masker("d")
	for _, s := range []string{
		"", "localhost", "203.0.113", "203.0.113.7:443", "203.0.113.0/24", "203.0.113.07", "0xcb.0.0.1", "3405803783",
		"[2001:db8::1]", "[2001:db8::1]:443", "fe80::1%eth0", "::ffff:203.0.113.7%1", "203.0.113.7, 198.51.100.1", "203.0.113.7\u00a0", "\u0662.1.1.1", strings.Repeat("1", 1<<20),
	} {
		if got, err := m.AppendIP(nil, personal(s)); err == nil {
			t.Errorf("%.40q: got %s, want an error", s, got)
		} else if s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("%.40q: the error quotes the value", s)
		}
	}
}

func TestEmail(t *testing.T) {
	m := mask.Unkeyed().Masker("d")
	want, _ := m.AppendText(nil, personal("ann.lee@example.com"))
	for _, s := range []string{"ann.lee@example.com", " Ann.Lee@Example.COM "} {
		if got, err := m.AppendEmail(nil, personal(s)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: got %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "ann", "@example.com", "ann@", "a@b@c", "ann lee@example.com", "a@b.c,d@e.f", "a@b\x00", "ann@exam\u00a0ple.com"} {
		if _, err := m.AppendEmail(nil, personal(s)); err == nil {
			t.Errorf("%q: want an error", s)
		}
	}
}

func TestBlank(t *testing.T) {
	for text, want := range map[string]bool{"": true, " \t": true, "\u00a0\u3000": true, "x": false} {
		if got := personal(text).Blank(); got != want {
			t.Errorf("Blank(%q) = %v", text, got)
		}
	}
}

func TestPersonalNeverShows(t *testing.T) {
	const canary = "canary-593-47-5928"
	p := personal(canary)
	type row struct {
		ID    int
		inner mask.Personal
		Outer *mask.Personal
	}
	r := row{1, p, &p}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&out, verb, p)
		fmt.Fprintf(&out, verb, &p)
		fmt.Fprintf(&out, verb, r)
		fmt.Fprintf(&out, verb, []mask.Personal{p})
	}
	for _, v := range []any{p, r, map[string]mask.Personal{"k": p}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "p", p, "r", r)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "p", p, "r", r)
	fmt.Fprint(&out, fmt.Errorf("wrapped: %v", p))
	if v, err := p.Value(); err == nil {
		t.Errorf("a driver gets %v", v)
	}
	hex := fmt.Sprintf("%x", canary)
	if got := out.String(); strings.Contains(got, canary) || strings.Contains(got, hex) || strings.Contains(got, "99 97 110 97 114 121") {
		t.Errorf("the raw value shows: %s", got)
	}
}

func TestKeysNeverShow(t *testing.T) {
	k, err := mask.ParseKeys("k1:" + testKey)
	if err != nil {
		t.Fatal(err)
	}
	type config struct{ keys *mask.Keyring }
	type config2 struct{ keys mask.Keyring }
	got := fmt.Sprintf("%v %+v %#v %s %d %x %+v %v", k, k, k, *k, k, *k, config{k}, []any{config2{*k}})
	if strings.Contains(got, testKey) || strings.Contains(got, "48 49 50") {
		t.Errorf("a key shows: %s", got)
	}
}

func TestParseKeys(t *testing.T) {
	const other = "3d1f6f0b9a5c47e2836b0fd49c7e215a"
	k, err := mask.ParseKeys(" k2:" + testKey + ", k1 :" + other + ":with:colons") // white space around an id is ignored
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(k.IDs(), " "); got != "k2 k1" || k.ID() != "k2" || !k.Keyed() {
		t.Errorf("ids %q, masks with %q", got, k.ID())
	}
	s, err := mask.ParseSecret([]byte(`{"k1":"` + other + `:with:colons","primary":"k2","k2":"` + testKey + `"}` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range k.Maskers("d") {
		a, _ := m.AppendText(nil, personal("v"))
		b, _ := s.Maskers("d")[i].AppendText(nil, personal("v"))
		if !bytes.Equal(a, b) {
			t.Errorf("key %d differs between the two forms", i)
		}
	}
}

func TestBadKeys(t *testing.T) {
	for _, tt := range []struct{ name, list, want string }{
		{"empty", "", "no colon"},
		{"no id", ":" + testKey, "invalid id"},
		{"no colon", testKey, "no colon"},
		{"short", "k1:0123456789abcdef0123456789abcde", "31 bytes"},
		{"reserved", "sha256:" + testKey, "invalid id"},
		{"twice", "k1:" + testKey + ",k1:" + testKey, "twice"},
		{"a comma in a key", "k1:" + testKey + ",tail", "a comma"},
		{"a semicolon for a comma", "k1:" + testKey + ";k2:" + testKey[1:] + "x", "key k1 has what looks like another key after a semicolon; separate keys with a comma"},
		{"a semicolon and a space", "k1:" + testKey + "; k2:" + testKey[1:] + "x", "separate keys with a comma"},
		{"a long id", strings.Repeat("k", 33) + ":" + testKey, "invalid id"},
		{"a quote before an id", `"k1:` + testKey + `"`, "key 1 has an invalid id"},
		{"a byte order mark before an id", "\ufeffk1:" + testKey, "key 1 has an invalid id"},
		{"one key for two ids", "k2:" + testKey + ",k1:" + testKey, "keys k2 and k1 are the same"},
		{"one key for the first id and the third", "k3:" + testKey + ",k2:another-" + testKey + ",k1:" + testKey, "keys k3 and k1 are the same"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := mask.ParseKeys(tt.list)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "0123456789abcdef") {
				t.Errorf("the error shows a key: %v", err)
			}
		})
	}
	for _, tt := range []struct{ name, text, want string }{
		{"no JSON", "k1:" + testKey, "not a JSON object"},
		{"no primary", `{"k1":"` + testKey + `"}`, "no primary"},
		{"primary elsewhere", `{"primary":"k9","k1":"` + testKey + `"}`, "not in it"},
		{"short", `{"primary":"k1","k1":"0123456789abcdef"}`, "16 bytes"},
		{"a number", `{"primary":"k1","k1":7}`, "strings"},
		{"twice", `{"primary":"k1","k1":"` + testKey + `","k1":"` + testKey + `"}`, "once"},
		{"cut off", `{"primary":"k1","k1":"` + testKey, "strings"},
		{"no end", `{"primary":"k1","k1":"` + testKey + `"`, "strings"},
		{"another end", `{"primary":"k1","k1":"` + testKey + `"]`, "strings"},
		{"a comma behind the last", `{"primary":"k1","k1":"` + testKey + `",}`, "strings"},
		{"text behind", `{"primary":"k1","k1":"` + testKey + `"} trailing`, "and nothing else"},
		{"a second object", `{"primary":"k1","k1":"` + testKey + `"}{"k2":"` + testKey + `"}`, "and nothing else"},
		{"a newline in the key", `{"primary":"k1","k1":"` + testKey + `\n"}`, "key k1 ends with white space"},
		{"quotes in the quotes", `{"primary":"k1","k1":"\"` + testKey + `\""}`, "key k1 begins with a quote"},
		{"white space around an id", `{"primary":" k1"," k1":"` + testKey + `"}`, "invalid id"},
		{"one key for two ids", `{"primary":"k1","k2":"` + testKey + `","k1":"` + testKey + `"}`, "keys k1 and k2 are the same"},
	} {
		t.Run("secret "+tt.name, func(t *testing.T) {
			_, err := mask.ParseSecret([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "0123456789abcdef") {
				t.Errorf("the error shows a key: %v", err)
			}
		})
	}
}

func FuzzIP(f *testing.F) {
	for _, s := range []string{"203.0.113.7", "::ffff:1.2.3.4", "fe80::1%x", " 1.1.1.1 ", "1.1.1.1:80", "\x00"} {
		f.Add(s)
	}
	m := mask.Unkeyed().Masker("d")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := m.AppendIP(nil, mask.PersonalText([]byte(s)))
		if err != nil {
			if len(s) > 4 && strings.Contains(err.Error(), s) && !strings.Contains("not one IP address", s) {
				t.Errorf("the error quotes %q", s)
			}
			return
		}
		if len(got) != mask.Size {
			t.Errorf("%q: %d characters", s, len(got))
		}
		again, err := m.AppendIP(nil, mask.PersonalText([]byte(" "+s+" ")))
		if err != nil || !bytes.Equal(got, again) {
			t.Errorf("%q: white space changes the mask", s)
		}
	})
}

// FuzzMask gives every masker every text. A mask is 64 hex characters, and an error is one of the
// package's own, which say nothing of the value.
func FuzzMask(f *testing.F) {
	for _, s := range []string{"593-47-5928", "Ann@Example.com", "a@b\u00a0", "", " ", "\x00", "\xff", "é", "7"} {
		f.Add(s)
	}
	keyed, err := mask.ParseKeys("k1:" + testKey)
	if err != nil {
		f.Fatal(err)
	}
	m := keyed.Masker("d")
	f.Fuzz(func(t *testing.T, s string) {
		v := mask.PersonalText([]byte(s))
		for name, appendTo := range map[string]appendFunc{"text": (*mask.Masker).AppendText, "email": (*mask.Masker).AppendEmail, "ip": (*mask.Masker).AppendIP} {
			got, err := appendTo(m, []byte("before"), v)
			got, found := bytes.CutPrefix(got, []byte("before"))
			switch {
			case !found:
				t.Errorf("%q as %s: the text before is gone", s, name)
			case err == mask.ErrNotEmail && name == "email" || err == mask.ErrNotIP && name == "ip": //nolint:errorlint // exactly this value: an error that wraps it could quote
				if len(got) != 0 {
					t.Errorf("%q as %s: %s beside an error", s, name, got)
				}
			case err != nil:
				t.Errorf("%q as %s: %v", s, name, err)
			case len(got) != mask.Size || strings.Trim(string(got), "0123456789abcdef") != "":
				t.Errorf("%q as %s: got %s", s, name, got)
			}
		}
	})
}

// FuzzKeys reads keys in both forms, alone and with damage before and after. No error and no
// keyring shows a key of the text, and a secret that passes is JSON from its first character to its
// last.
func FuzzKeys(f *testing.F) {
	for _, s := range [][2]string{
		{"k1:", ""},
		{"k1:", ",k2:"},
		{"", ""},
		{"k2:short,k1:", ""},
		{"sha256:", ""},
		{"k1:x,", ","},
		{`{"primary":"k1","k1":"`, `"}`},
		{`{"primary":"`, `"}`},
		{`{"k1":7,"`, `":"k1"}`},
		{`{"primary":"k1","k1":"`, `"} x`},
		{`{"primary":"k1","k1":"`, `",}`},
		{`{"primary":"k1","k1":"`, `\ud800"}`},
		{`[`, `]`},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		text := before + testKey + after
		list, err1 := mask.ParseKeys(text)
		secret, err2 := mask.ParseSecret([]byte(text))
		for _, err := range []error{err1, err2} {
			if err != nil && strings.Contains(err.Error(), testKey) {
				t.Errorf("%q: the error shows a key: %v", text, err)
			}
		}
		if err2 == nil && !json.Valid([]byte(text)) {
			t.Errorf("%q is not JSON, and passes", text)
		}
		for _, k := range []*mask.Keyring{list, secret} {
			if k != nil && (!k.Keyed() || len(k.IDs()) == 0 || strings.Contains(fmt.Sprintf("%v %+v %#v", k, k, *k), testKey)) {
				t.Errorf("%q: %v", text, k)
			}
		}
	})
}

// TestHex: every byte at every place is written as package hex does.
func TestHex(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		var sum [sha256.Size]byte
		for i := range sum {
			sum[i] = byte(c + i)
		}
		if got, want := string(mask.AppendHex([]byte("x"), &sum)), "x"+hex.EncodeToString(sum[:]); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func BenchmarkMask(b *testing.B) {
	keyed, err := mask.ParseKeys("k1:" + testKey)
	if err != nil {
		b.Fatal(err)
	}
	p := personal("593-47-5928")
	for name, k := range map[string]*mask.Keyring{"hmac-sha256": keyed, "sha256": mask.Unkeyed()} {
		b.Run(name, func(b *testing.B) {
			m := k.Masker("user_logins.device_id")
			dst := make([]byte, 0, mask.Size)
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = m.AppendText(dst[:0], p)
			}
		})
	}
}
