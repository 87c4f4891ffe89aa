package model_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// details are what a rejection must say beside its reason. The others say it all by their reason: of
// what is not base64, an address or a version there is no more to say than the value.
var details = map[message.Reason]*regexp.Regexp{
	message.ReasonNotJSON:      regexp.MustCompile("."),
	message.ReasonNotObject:    regexp.MustCompile("expected an object, found "),
	message.ReasonNotWrapped:   regexp.MustCompile("is absent$|is null$|expected .*, found "),
	message.ReasonTooLarge:     regexp.MustCompile("expected at most "),
	message.ReasonKeyCase:      regexp.MustCompile("expected exactly "),
	message.ReasonMissing:      regexp.MustCompile("expected "),
	message.ReasonWrongType:    regexp.MustCompile("expected .*, found "),
	message.ReasonTooShort:     regexp.MustCompile("expected "),
	message.ReasonTooLong:      regexp.MustCompile("expected "),
	message.ReasonTooMany:      regexp.MustCompile("expected at most "),
	message.ReasonNotOneOf:     regexp.MustCompile("expected one of "),
	message.ReasonNoMatch:      regexp.MustCompile("expected "),
	message.ReasonTooDeep:      regexp.MustCompile("expected at most "),
	message.ReasonNotNumber:    regexp.MustCompile("expected a number"),
	message.ReasonNotInteger:   regexp.MustCompile("expected an integer"),
	message.ReasonNotBoolean:   regexp.MustCompile("expected true or false, found "),
	message.ReasonNotTimestamp: regexp.MustCompile("expected "),
	message.ReasonNotInterval:  regexp.MustCompile("expected "),
	message.ReasonNotUUID:      regexp.MustCompile("expected "),
	message.ReasonOutOfRange:   regexp.MustCompile("expected "),
}

// saysEnough holds a rejection to details. The helpers of these tests ask it of every rejection.
func saysEnough(t testing.TB, why message.Rejection) {
	t.Helper()
	for _, p := range append([]message.Rejection{why}, why.More...) {
		if want := details[p.Reason]; want != nil && p.Column == "" && !want.MatchString(p.Detail) {
			t.Errorf("%s: its detail does not match %s", p, want)
		}
		if (p.Reason == message.ReasonDuplicateKey || p.Reason == message.ReasonNotJSON && !strings.Contains(p.Detail, "is empty") && !strings.Contains(p.Detail, "expected an object")) && p.Byte == 0 {
			t.Errorf("%s: it says no byte", p)
		}
	}
}

// TestCheckJSON: every way to stop being JSON has its byte and its words, and none of the text. It
// has each of the words in syntax.go: they hang on how the decoder words its errors.
func TestCheckJSON(t *testing.T) {
	t.Parallel()
	said := map[string]bool{}
	for _, tt := range []struct{ name, text, want string }{
		{"an object", `{"canary":1,"canary":[true,null,"\u00e9"]}`, ""},
		{"a word alone", " null\t", ""},
		{"a byte order mark", "\xef\xbb\xbf{}", ""},
		{"nothing", "", "not_json: it is empty"},
		{"blank", " \t\n", "not_json: it is empty"},
		{"cut in a name", `{"canary`, "not_json at byte 8: it ends too early"},
		{"cut after a byte order mark", "\xef\xbb\xbf{", "not_json at byte 4: it ends too early"},
		{"no comma", `{"canary":1 "b":2}`, "not_json at byte 13: a comma or } is missing"},
		{"the wrong bracket", `{"canary":[1}`, "not_json at byte 13: a comma or ] is missing"},
		{"no comma between elements", `["canary" "b"]`, "not_json at byte 11: a comma or ] is missing"},
		{"no colon", `{"canary" 1}`, "not_json at byte 11: a colon is missing"},
		{"no quotes", `{canary: 1}`, "not_json at byte 2: a name in double quotes is missing"},
		{"a comma before the end", `{"canary":1,}`, "not_json at byte 13: a name in double quotes is missing"},
		{"single quotes", `{"canary":'x'}`, "not_json at byte 11: no JSON value begins here"},
		{"a comma before the end of an array", `["canary",]`, "not_json at byte 11: no JSON value begins here"},
		{"a line break in a string", "\"canary\n\"", "not_json at byte 8: a line break or control character in a string; JSON has an escape for it"},
		{"an unknown escape", `"canary\x"`, "not_json at byte 8: an escape that JSON does not have"},
		{"half a surrogate pair", `"canary\ud800"`, "not_json at byte 8: an escape that JSON does not have"},
		{"no digit", `{"canary":1.}`, "not_json at byte 13: a digit is missing"},
		{"a word", `canary`, "not_json at byte 1: a word without double quotes"},
		{"a word that is none", `{"canary":tru}`, "not_json at byte 14: a word without double quotes"},
		{"Latin-1", "\"canary\xe9\"", "not_json at byte 8: it is not UTF-8"},
		{"nested too deep", strings.Repeat("[", 10_002), "not_json at byte 10001: it is nested too deep"},
		{"two values", `"canary" {}`, "not_json at byte 10: more text follows the JSON value"},
		{"text after a value, and a byte order mark", "\xef\xbb\xbf{}\ncanary", "not_json at byte 7: more text follows the JSON value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			why := model.CheckJSON([]byte(tt.text))
			said[why.Detail] = true
			if got := why.String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	source, err := os.ReadFile("syntax.go")
	if err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile(`(?m)^\t\{.*, "(.*)"\},$|^\twords\w+ += "(.*)"$`).FindAllStringSubmatch(string(source), -1)
	for _, w := range words {
		if !said[w[1]+w[2]] {
			t.Errorf("nothing shows the words %q", w[1]+w[2])
		}
	}
	if len(words) < 10 {
		t.Errorf("syntax.go has only %d words", len(words))
	}
}

// FuzzCheckJSON: a text is refused if it is not JSON, at a byte that it has, and without its words.
func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{"", `{"a":[1,-2.5e3,true,null,"\u00e9\ud83d\ude00"]}`, "\xef\xbb\xbf{}", `{"a" 1}`, "[1,", "tru", "\"\xff\"", `"\ud800"`, "{} {}", "-", "1e", "[[[", "\x00", "{\"a\":1}x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		why := model.CheckJSON([]byte(text))
		valid := jsontext.Value(strings.TrimPrefix(text, "\xef\xbb\xbf")).IsValid(jsontext.AllowDuplicateNames(true))
		if why.IsZero() != valid || why.Byte < 0 || why.Byte > len(text) || !valid && why.Detail == "" {
			t.Errorf("%q: got %s at %d; valid: %v", text, why, why.Byte, valid)
		}
	})
}
