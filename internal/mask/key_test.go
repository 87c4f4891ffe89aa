package mask_test

import (
	"encoding/json"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/mask"
)

// randomKey is a key as `openssl rand -hex 24` makes it.
const randomKey = "3d1f6f0b9a5c47e2836b0fd49c7e215a8b64d09e17f3c258"

// TestOneSpellingOfAKey: what a file, a shell or an editor adds to a key would make it another one,
// whose masks join with no earlier row. Each such spelling is an error, in a list and in a secret,
// and no error shows the key.
func TestOneSpellingOfAKey(t *testing.T) {
	t.Parallel()
	spellings := map[string]string{
		"white space before": " {}", "white space after": "{} ", "a tab": "{}\t", "a newline": "{}\n", "a newline of Windows": "{}\r\n", "a carriage return": "{}\r", "a line before": "\n{}",
		"a no-break space": "{}\u00a0", "an ideographic space": "\u3000{}", "a line separator": "{}\u2028", "a vertical tab": "{}\v", "next line": "{}\u0085",
		"double quotes": `"{}"`, "single quotes": "'{}'", "one quote before": `"{}`, "one quote after": "{}'", "backticks": "`{}`", "an acute accent": "´{}´",
		"typographic quotes": "“{}”", "single typographic quotes": "‘{}’", "German quotes": "„{}“", "French quotes": "«{}»", "single French quotes": "‹{}›", "Japanese quotes": "「{}」", "full-width quotes": "＂{}＂", "primes": "″{}″", "escaped quotes": `\"{}\"`,
		"a byte order mark": "\ufeff{}", "a byte order mark after": "{}\ufeff", "a character without width": "{}\u200b", "a mark of direction": "\u200e{}", "a joiner": "\u2060{}",
		"quotes of Windows-1252": "\x93{}\x94", "a quote of Windows-1252 after": "{}\x92", "a no-break space of Latin-1": "{}\xa0",
		"NUL after": "{}\x00", "ESC before": "\x1b{}", "DEL after": "{}\x7f", "a control character inside": "{}\x01{}", "a line break inside": "{}\n{}", "NUL inside": "{}\x00{}", "a C1 control character inside": "{}\u009b{}",
		"a comment": "{} # my key", "a comment without a space": "{} #my key", "a comment beside it": "{}# my key", "a comment of C": "{} // my key", "a comment of SQL": "{} -- my key", "a comment of an INI file": "{} ; my key", "a comment in stars": "{} /* my key */", "a comment of XML": "{} <!-- my key -->",
		"a comment before": "# my key {}", "a comment of C before": "// my key {}", "stars before": "/* my key */{}", "a comment after a tab": "{}\t#my key", "a comment after a no-break space": "{}\u00a0#my key",
	}
	masks := map[string]string{}
	for name, spelling := range spellings {
		text := strings.ReplaceAll(spelling, "{}", randomKey)
		list, err1 := mask.ParseKeys("k1:" + text)
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		secret, err2 := mask.ParseSecret([]byte(`{"primary":"k1","k1":` + string(quoted) + `}`))
		for i, err := range []error{err1, err2} {
			if err == nil {
				k := []*mask.Keyring{list, secret}[i]
				masked, _ := k.Masker("d").AppendText(nil, personal("v"))
				masks[string(masked)] = name
				continue
			}
			if !strings.HasPrefix(err.Error(), "key k1 ") || strings.Contains(err.Error(), randomKey) || strings.Contains(err.Error(), "my key") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if len(masks) > 0 {
		t.Errorf("%d spellings have masks of their own: %v", len(masks), masks)
	}
}

// TestKeysThatAnyoneCanGuess has texts that are long enough and still not keys.
func TestKeysThatAnyoneCanGuess(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"", "is empty"},
		{strings.Repeat("x", 64), "has 1 distinct characters, want at least 8"},
		{strings.Repeat("0", 64), "has 1 distinct"},
		{strings.Repeat("ab", 32), "has 2 distinct"},
		{strings.Repeat("abcdefg", 8), "has 7 distinct"},
		{strings.Repeat("äöü", 16), "has 3 distinct"},
		{strings.Repeat("deadbeef", 8), "has 5 distinct"},
		{"{{resolve:secretsmanager:logins-mask:SecretString:k1}}", "is a reference"},
		{"{{resolve:ssm-secure:/logins/mask/key:1}}-and-some-more", "is a reference"},
		{"{{ Resolve:ssm:/logins/mask/key-of-production:1 }}", "is a reference"},
		{"${SLUICE_MASK_KEY_OF_PRODUCTION_1}", "is a reference"},
		{"$SLUICE_MASK_KEY_OF_THE_PRODUCTION", "is a reference"},
		{"$(openssl rand -hex 32)", "is a reference"},
		{"$(aws secretsmanager get-secret-value --secret-id mask)", "is a reference"},
		{"{{ .Values.sluice.mask.key1.production }}", "is a reference"},
		{"%SLUICE_MASK_KEY_OF_THE_PRODUCTION%", "is a reference"},
		{"!Ref SluiceMaskKeyParameterOfTheStack", "is a reference"},
		{"arn:aws:secretsmanager:eu-central-1:123456789012:secret:mask-AbCdEf", "is a reference"},
		{"op://production/sluice/mask-key/credential", "is a reference"},
		{"((mask-key-of-the-production-system))", "is a reference"},
		{"#{MaskKeyOfTheProductionSystem}", "is a reference"},
		{"#{mask_key_of_the_production}#", "is a reference"},
		{"__MASK_KEY_OF_THE_PRODUCTION_SYSTEM__", "is a reference"},
		{"@Microsoft.KeyVault(SecretUri=mask-key-of-production)", "is a reference"},
		{"vault:secret/data/sluice#mask_key_prod", "is a reference"},
		{"ssm:/production/sluice/mask-key-eu-1", "is a reference"},
		{"/run/secrets/mask_key_of_production.txt", "is a reference"},
		{"this-is-a-very-secret-key-of-production", "is a placeholder"},
		{"test-key-of-the-maintenance-window-01", "is a placeholder"},
		{"password123password456password789pass", "is a placeholder"},
		{"changeme-changeme-changeme-changeme", "is a placeholder"},
		{"CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE_ME_1", "is a placeholder"},
		{"please change me before production use", "is a placeholder"},
		{"your-key-here-at-least-32-characters", "is a placeholder"},
		{"your-32-byte-secret-key-here-0000001", "is a placeholder"},
		{"replace-me-with-a-key-of-32-characters", "is a placeholder"},
		{"<a-key-of-at-least-32-random-characters>", "is a placeholder"},
		{"<key from openssl, 64 hexadecimal digits>", "is a placeholder"},
		{"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "is a placeholder"},
		{"abcdefghijklmnopqrstuvwxyz0123456789", "is a placeholder"},
		{"12345678901234567890123456789012", "is a placeholder"},
		{"1234567890abcdef1234567890abcdef", "is a placeholder"},
		{"qwertyuiopasdfghjklzxcvbnm1234567", "is a placeholder"},
		{"my-secret-key-my-secret-key-my-secret", "is a placeholder"},
		{"Password123!Password123!Password123!", "is a placeholder"},
		{"test-key-test-key-for-development-only", "is a placeholder"},
		{"TODO TODO: the key of production, 2027", "is a placeholder"},
		{"mysecretxxxxxxxxxxxxxxxxxxxxxxxxxx", "is a placeholder"},
		{"f00dcafe987100000000000000000000", "is a placeholder"},
		{"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "is a placeholder"},
	} {
		_, err := mask.ParseKeys("k1:" + strings.ReplaceAll(tt.text, ",", ""))
		if err == nil || !strings.HasPrefix(err.Error(), "key k1 "+tt.want) {
			t.Errorf("%s: got %v, want %q", tt.text, err, tt.want)
		} else if len(tt.text) > 0 && strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: the error shows it", tt.text)
		}
	}
}

// TestGoodKeys: keys of random generators and of people with long sentences are valid, whatever
// they contain.
func TestGoodKeys(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		randomKey,
		"q83vEjRWeJC7zN3u/wARIjNEVWZ3iJmqu8zd7v8AESI=",
		"//8Rq83vEjRWeJC7zN3u/wARIjNEVWZ3iJmqu8zd7v8=",
		"0000000f00dcafe98710bbbbbbb0000000",
		"#f8Z!k2$Lp9^Qw4&Rt6*Yu1(Io3)Pa5-Sd7=",
		";x7--Kd93#aa//Bq1/*Zt55%pW0{vN8}cM2<hJ4>",
		"zürich-blickt-über-äpfel-und-öltöpfe",
		`it is "quoted" inside, and it's long enough`,
		"seven wet dogs, one umbrella, no bus",
		"a:key:with:colons:9f8e7d6c5b4a39281706",
		"$ecret1y-l0ng-and-never-written-anywhere$",
		"a\ufeffb\u200bc-3d1f6f0b9a5c47e2836b0fd49c7e215a",
	} {
		k, err := mask.ParseSecret([]byte(`{"primary":"k1","k1":` + string(must(json.Marshal(text))) + `}`))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if what, remedy := k.Warning(); what != "" || remedy != "" {
			t.Errorf("%q: %s; %s", text, what, remedy)
		}
	}
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

// TestWarning is about masks that are valid and weak.
func TestWarning(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"k1:" + testKey:                        "the mask key k1 is the one of sluice's published examples",
		"k1:" + strings.ToUpper(testKey[:32]):  "the mask key k1 is",
		"k2:" + randomKey + ",k1:" + testKey:   "the mask key k1 is",
		"k1:" + testKey[:33]:                   "",
		"k1:another-" + testKey:                "",
		"k2:" + randomKey + ",k1:x" + testKey:  "",
		"k1:" + strings.Repeat(randomKey, 2):   "",
		"k1:" + testKey + "fedcba9876543210":   "",
		"k1:" + strings.Repeat("other-key", 4): "",
	} {
		k, err := mask.ParseKeys(list)
		if err != nil {
			t.Fatalf("%s: %v", list, err)
		}
		what, remedy := k.Warning()
		if !strings.HasPrefix(what, want) || (what == "") != (want == "") || (remedy == "") != (what == "") || strings.Contains(what+remedy, testKey[:16]) {
			t.Errorf("%s: got %q, %q", list, what, remedy)
		}
	}
	if what, remedy := mask.Unkeyed().Warning(); !strings.Contains(what, "unkeyed") || !strings.Contains(remedy, "SLUICE_MASK_KEYS") {
		t.Errorf("unkeyed: got %q, %q", what, remedy)
	}
}
