package infer_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/infer"
)

func TestLooksLikeData(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"user_id": false, "userId": false, "User-Agent": false, "odd name": false, "größe": false, "address1": false, "line_2": false,
		"sha256": false, "md5": false, "x-amz-id-2": false, "@type": false, "$ref": false, "_id": false, "#": false, "last4": false,
		"数": false, "s3SchemaVersion": false, "oauth2": false, "utf8": false,

		"": true, "7": true, "-1": true, "1e5": true, "2026-01-31": true, "jan2026": true, "ann@example.com": true, "203.0.113.7": true, "2001:db8::1": true,
		"6f1c0000-0000-4000-8000-000000000001": true, "deadbeefdeadbeef": true, "u-1": true, "user_17": true, "user:7": true, "arn:aws:sqs:x": true,
		"https://example.com": true, "+49 30 1234567": true, "00:1b:44:11:3a:b7": true, "a1b2c3d4": true, "one of several words here": true,
		"tab\t": true, "\u202ename": true, "\u200bname": true, "\ufffd": true, "a-name-that-is-longer-than-any-identifier-that-somebody-would-write": true,
	} {
		if got := infer.LooksLikeData(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}

// TestShown: names that are data stay hidden, and those of a program show.
func TestShown(t *testing.T) {
	t.Parallel()
	each := func(n int, body func(i int) string) (all []string) {
		for i := range n {
			all = append(all, body(i))
		}
		return all
	}
	random := rand.New(rand.NewPCG(1, 1))
	chance := func(percent int) bool { return random.IntN(100) < percent }
	who := strings.Fields("ann bob cid dan eve fay gus hal ida jim kim leo max ned oda pia ron syd tom uwe")
	for name, tt := range map[string]struct {
		objects []string
		bodies  int // 0: as many
		want    string
		others  int
	}{
		"one body":                     {[]string{`{"a":1,"b":2,"u-1":3}`}, 0, "a b", 1},
		"in one of two":                {[]string{`{"id":1,"ann":1}`, `{"id":1}`}, 0, "id", 1},
		"in one of three":              {[]string{`{"id":1,"ann":1}`, `{"id":2,"hans mueller":1}`, `{"id":3}`}, 0, "id", 2},
		"in one of four":               {[]string{`{"kind":"a","ann":1}`, `{"kind":"a","bob":1}`, `{"kind":"a","cid":1}`, `{"kind":"a","dan":1}`}, 0, "kind", 4},
		"one object of many bodies":    {[]string{`{"ann":1}`}, 100, "", 1},
		"in fewer than one in ten":     {append(each(91, func(int) string { return `{"a":1}` }), each(9, func(int) string { return `{"a":1,"ann":1}` })...), 0, "a", 9},
		"in one in ten":                {append(each(90, func(int) string { return `{"a":1}` }), each(10, func(int) string { return `{"a":1,"b":1}` })...), 0, "a b", 0},
		"five that exclude each other": {each(100, func(i int) string { return `{"` + who[i%5] + `":1}` }), 0, "", 100},
		"five beside others":           {each(100, func(i int) string { return `{"a":1,"` + who[i%5] + `":1}` }), 0, "a", 100},
		"two":                          {each(100, func(i int) string { return `{"a":"x","` + who[i%2] + `":"x"}` }), 0, "a", 100},
		"two, not as often":            {each(100, func(i int) string { return `{"a":"x","` + who[min(i%10/7, 1)] + `":"x"}` }), 0, "a", 100},
		"with null":                    {each(100, func(i int) string { return `{"a":1,"` + who[i%5] + `":` + []string{"1", "null"}[i%3/2] + `}` }), 0, "a", 100},
		"some of twenty": {each(300, func(int) string {
			i := random.IntN(20)
			return fmt.Sprintf(`{%q:1,%q:1,%q:2}`, who[i], who[(i+1+random.IntN(6))%20], who[(i+7+random.IntN(6))%20])
		}), 0, "", 900},
		"objects of one shape": {each(100, func(i int) string { return `{"a":1,"` + who[i%5] + `":{"x":1,"y":2}}` }), 0, "a", 100},
		"objects of one shape with an optional member": {each(100, func(i int) string {
			return `{"a":1,"` + who[i%5] + `":{"x":1` + []string{"", `,"y":1`}[i%2] + `}}`
		}), 0, "a", 100},
		"objects keyed by data too": {each(100, func(i int) string { return `{"a":1,"` + who[i%5] + `":{"` + who[i*7%13] + `":1}}` }), 0, "a", 100},
		"a union": {each(30, func(i int) string {
			return `{"type":1,` + []string{`"created":{"by":1,"id":1}`, `"deleted":{"reason":1,"id":1}`, `"moved":{"to":1,"id":1}`}[i%3] + `}`
		}), 0, "created deleted moved type", 0},
		"a union of different kinds": {each(30, func(i int) string { return `{"type":1,` + []string{`"n":1`, `"text":"x"`, `"flags":[]`}[i%3] + `}` }), 0, "flags n text type", 0},
		"two types of message": {each(30, func(i int) string {
			return []string{`{"id":1,"order_id":"x","total":1}`, `{"id":1,"user_id":"x","age":1}`}[i%2]
		}), 0, "age id order_id total user_id", 0},
		"honest optional members": {each(100, func(int) string {
			text := `{"id":1`
			for _, name := range []string{"note", "coupon", "referrer", "gift_text"} {
				if chance(30) {
					text += `,"` + name + `":"x"`
				}
			}
			return text + "}"
		}), 0, "coupon gift_text id note referrer", 0},
		"one optional member":      {each(100, func(i int) string { return []string{`{"id":1}`, `{"id":1,"note":"x"}`, `{"id":1}`}[i%3] }), 0, "id note", 0},
		"words among what is data": {each(20, func(i int) string { return []string{`{"u-1":1}`, `{"ann":1}`, `{"u-3":1}`}[i%3] }), 0, "", 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var names infer.Names
			for _, text := range tt.objects {
				names.Add(func(yield func(string, []byte) bool) {
					dec := jsontext.NewDecoder(strings.NewReader(text))
					_, _ = dec.ReadToken()
					for dec.PeekKind() == '"' {
						name, _ := dec.ReadToken()
						text := name.String()
						v, _ := dec.ReadValue()
						if !yield(text, v) {
							return
						}
					}
				})
			}
			shown, others := names.Shown(cmp.Or(tt.bodies, len(tt.objects)))
			if got := strings.Join(slices.Sorted(maps.Keys(shown)), " "); got != tt.want || others != tt.others {
				t.Errorf("got %q and %d others, want %q and %d", got, others, tt.want, tt.others)
			}

			// A draft of the same bodies shows no other name, and reads the others.
			if tt.bodies != 0 || tt.want == "" {
				return
			}
			text, m := draft(t, tt.objects...)
			for _, name := range append(who, "hans") {
				if strings.Contains(text, name) {
					t.Errorf("%s shows:\n%s", name, text)
				}
			}
			for name := range strings.FieldsSeq(tt.want) {
				if !strings.Contains(text, name) {
					t.Errorf("%s does not show:\n%s", name, text)
				}
			}
			accepts(t, text, m, tt.objects...)
		})
	}
}
