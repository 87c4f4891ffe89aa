package model_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// chosen says which model takes a message and what becomes of it.
func chosen(s *model.Set, r *model.SetReader, msg *message.Message) string {
	b := batch.New(s.Tables()...)
	v := r.Append(b, 0, 0, msg)
	name := "none"
	switch {
	case b.Len() > 0:
		name = s.Models[slices.IndexFunc(s.Models, func(m *model.Model) bool { return m.Table == s.Tables()[b.Table(0)] })].Name
	case v.Model > 0:
		name = s.Models[v.Model-1].Name
	}
	switch {
	case b.Len() > 0:
		return name
	case v.Outcome == message.Rejected:
		return name + " " + v.Rejection.String()
	default:
		return name + " " + strings.TrimSpace(v.Outcome.String()+" "+string(v.Cause))
	}
}

func sent(body string) *message.Message {
	return &message.Message{ID: "00000000-0000-4000-8000-000000000001", Body: []byte(body), HasBody: true, HasSent: true}
}

func TestChoice(t *testing.T) {
	t.Parallel()
	byType := []string{taking("a", "one"), taking("b", "two"), ignoring("c", "three")}
	rest := append(slices.Clone(byType), plain("rest", "rest"))
	values := []string{when(`path: "$.x[0].y", one_of: [1, "1", true, "\u00e9"]`) + plain("a", "a"), when(`path: "$.x[0].y", one_of: [2.50, false, "n"]`) + plain("b", "b")}
	places := []string{when("path: $.k, one_of: [go]") + plain("k", "k"), when("path: $.k.l, one_of: [go]") + plain("l", "l"), when("path: $.K, one_of: [go]") + plain("other", "other"), when("path: $, one_of: [ping]") + "model: ping\nignore: true\n"}
	byEvent := []string{when("attribute: event, one_of: [one, 7]") + plain("a", "a"), when("path: $.type, one_of: [two]") + plain("b", "b")}
	inner := []string{
		when("path: $.type, layer: 1, one_of: [one]") + "unwrap: [{json: $.Message}]\n" + plain("a", "a"),
		when("path: $.type, layer: 1, one_of: [two]") + "unwrap: [{json: $.Message}]\n" + plain("b", "b"),
		when("path: $.type, layer: 1, one_of: [three]") + "unwrap: [{json: $.Message}]\nmodel: c\nignore: true\n",
		when("path: $.Type, one_of: [SubscriptionConfirmation]") + "model: d\nignore: true\n",
		when("path: $.type, one_of: [four]") + "unwrap: [base64, gzip]\n" + plain("e", "e"),
		when("path: $.type, layer: 1, one_of: [five]") + "unwrap: [{json: $.other}, base64]\n" + plain("f", "f"),
	}
	const noType = `no_model: expected $.type to be "one", "two", "three", found `
	for _, tt := range []struct {
		name   string
		models []string
		body   string
		want   string
	}{
		{"the first", byType, `{"type":"one","v":"x"}`, "a"},
		{"the second", byType, `{"v":"x","type":"two"}`, "b"},
		{"ignored", byType, `{"type":"three"}`, "c ignored"},
		{"ignored, whatever else it has", byType, `{"type":"three","v":1,"x":{"y":1,"y":2}}`, "c ignored"},
		{"rejected by its model", byType, `{"type":"two","v":1}`, "b wrong_type v: expected a string, found a number"},
		{"another value", byType, `{"type":"canary","v":"x"}`, "none " + noType + "another string"},
		{"a value in another case", byType, `{"type":"One"}`, "none " + noType + "another string"},
		{"absent", byType, `{"v":"x"}`, "none " + noType + "none"},
		{"null", byType, `{"type":null}`, "none " + noType + "null at $.type"},
		{"another kind", byType, `{"type":["one"]}`, "none " + noType + "an array"},
		{"a number", byType, `{"type":1}`, "none " + noType + "another number"},
		{"a boolean", byType, `{"type":true}`, "none " + noType + "another boolean"},
		{"a name in another case", byType, `{"Type":"one"}`, "none " + noType + "a name that differs from $.type in upper and lower case only"},
		{"an envelope", byType, `{"Type":"Notification","TopicArn":"x","Message":"{}"}`, "none " + noType + "a name that differs from $.type in upper and lower case only"},
		{"another envelope", byType, `{"detail-type":"x","source":"y","detail":{}}`, "none " + noType + "none; the body looks like an EventBridge event: begin paths with $.detail, as in path: $.detail.user_id"},
		{"not JSON", byType, `canary`, "none not_json at byte 1: a word without double quotes"},
		{"empty", byType, ``, "none not_json: it is empty"},
		{"not an object", byType, `[1]`, "none not_an_object: expected an object, found an array"},
		{"a duplicate name that chooses", byType, `{"type":"one","type":"one"}`, "none duplicate_key at byte 15"},
		{"a duplicate name that could choose", byType, `{"type":"canary","type":"canary"}`, "none duplicate_key at byte 18"},
		{"a duplicate name elsewhere", byType, `{"v":"x","v":"x","type":"two"}`, "b duplicate_key at byte 10"},
		{"a duplicate name elsewhere, and no model", byType, `{"v":"x","v":"x","type":"no"}`, "none " + noType + "another string"},
		{"a duplicate name before what is not JSON", byType, `{"v":"x","v":"x","type":"two"`, "none duplicate_key at byte 10"},
		{"a duplicate name with escapes", byType, `{"type":"one","t\u0079pe":"two"}`, "none duplicate_key at byte 15"},
		{"the rest", rest, `{"type":"four","v":"x"}`, "rest"},
		{"the rest, which is not JSON", rest, `{`, "rest not_json at byte 1: it ends too early"},
		{"the rest has a duplicate that could choose", rest, `{"type":"one","type":"four"}`, "none duplicate_key at byte 15"},
		{"a byte order mark", byType, "\ufeff" + ` {"type":"one","v":"x"} `, "a"},
		{"escapes", byType, `{"t\u0079pe":"\u006fne","v":"x"}`, "a"},
		{"a number", values, `{"x":[{"y":1.0}]}`, "a unrecognized"},
		{"a text of digits", values, `{"x":[{"y":"1"}],"v":"x"}`, "a"},
		{"another text of digits", values, `{"x":[{"y":"1.0"}],"v":"x"}`, `none no_model: expected $.x[0].y to be 1, "1", true, "é", 2.50, false, "n", found another string`},
		{"a boolean", values, `{"x":[{"y":true},{"y":"n"}],"v":"x"}`, "a"},
		{"another boolean", values, `{"x":[{"y":false}],"v":"x"}`, "b"},
		{"a number with an exponent", values, `{"x":[{"y":25e-1}],"v":"x"}`, "b"},
		{"not ASCII", values, `{"x":[{"y":"\u00e9"}],"v":"x"}`, "a"},
		{"no element", values, `{"x":[]}`, `none no_model: expected $.x[0].y to be 1, "1", true, "é", 2.50, false, "n", found none`},
		{"a path that ends", places, `{"k":"go","v":"x"}`, "k"},
		{"a path that goes on", places, `{"k":{"l":"go"},"v":"x"}`, "l"},
		{"a path in another case", places, `{"K":"go","v":"x"}`, "other"},
		{"both cases, by the order of the models", places, `{"K":"go","k":"go","v":"x"}`, "k key_case: expected exactly $.k"},
		{"the root", places, ` "ping" `, "ping ignored"},
		{"another root", places, ` "pong" `, `none no_model: expected $.k to be "go", found none; expected $.k.l to be "go", found none; expected $.K to be "go", found none; expected $ to be "ping", found another string`},
		{"no attribute", byEvent, `{"type":"two","v":"x"}`, "b"},
		{"no attribute and no type", byEvent, `{"v":"x"}`, `none no_model: expected the message attribute event to be "one", 7, found none; expected $.type to be "two", found none`},
		{"in an inner layer", inner, quoted(`{"type":"one","v":"x"}`), "a"},
		{"the second in an inner layer", inner, quoted(`{"type":"two","v":"x"}`), "b"},
		{"ignored in an inner layer", inner, quoted(`{"type":"three","v":"x"}`), "c ignored"},
		{"in an outer layer", inner, `{"Type":"SubscriptionConfirmation","Message":"You have chosen"}`, "d ignored"},
		{"a duplicate name in an inner layer", inner, quoted(`{"type":"one","v":1,"v":"x"}`), "a duplicate_key at byte 21: after unwrap in the text of $.Message"},
		{"a duplicate name in an inner layer that chooses", inner, quoted(`{"type":"one","type":"x"}`), "none duplicate_key at byte 15: after unwrap in the text of $.Message"},
		{"a duplicate name before an inner layer", inner, `{"Message":"{}","Message":"{}"}`, "none duplicate_key at byte 17"},
		{"compressed", inner, encoded(compressed(`{"type":"four","v":"x"}`)), "e"},
		{"compressed, and no model", inner, encoded(compressed(`{"type":"one","v":"x"}`)), `none no_model: expected $.type in layer 1 to be "one", "two", "three", found not_json; expected $.Type to be "SubscriptionConfirmation", found not_json; expected $.type to be "four", found another string; expected $.type in layer 1 to be "five", found not_json`},
		{"encoded in a string", inner, `{"other":"` + encoded(`{"type":"five","v":"x"}`) + `"}`, "f"},
		{"too large", inner, encoded(compressed(strings.Repeat(" ", 9<<20))), "none too_large: expected at most max_unwrapped_bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := set(t, tt.models...)
			r := s.Reader(mask.Unkeyed())
			r.Reset(time.Unix(0, 0))
			for range 3 { // the second time, the body has a shape
				if got := chosen(s, r, sent(tt.body)); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			}
		})
	}
}

func TestChoiceByAttribute(t *testing.T) {
	t.Parallel()
	s := set(t, when("attribute: event, one_of: [one, 7]")+plain("a", "a"), when("path: $.type, one_of: [two]")+plain("b", "b"), when("attribute: other, one_of: [x]")+"model: c\nignore: true\n")
	none := `none no_model: expected the message attribute event to be "one", 7, found %s; expected $.type to be "two", found none; expected the message attribute other to be "x", found none`
	for attributes, want := range map[string]string{
		`{"event":{"dataType":"String","stringValue":"one"}}`:              "a",
		`{"event":{"dataType":"String.x","stringValue":"\u006fne"}}`:       "a",
		`{"event":{"dataType":"Number","stringValue":"7.0"}}`:              "a",
		`{"event":{"dataType":"String","stringValue":"7"}}`:                fmt.Sprintf(none, "another string"),
		`{"event":{"dataType":"Binary","binaryValue":"eA=="}}`:             fmt.Sprintf(none, "none"),
		`{"Event":{"dataType":"String","stringValue":"one"}}`:              fmt.Sprintf(none, "none"),
		`{"other":{"dataType":"String","stringValue":"x"}}`:                "c ignored",
		`{"event":1,"event":1}`:                                            "none duplicate_key at byte 12: in the message attributes",
		`{"event":{"dataType":"String","stringValue":"one"},"other":null}`: "a",
		``: fmt.Sprintf(none, "none"),
	} {
		r := s.Reader(mask.Unkeyed())
		for range 2 {
			msg := sent(`{"v":"x"}`)
			msg.Attributes = []byte(attributes)
			if got := chosen(s, r, msg); got != want {
				t.Errorf("%s:\ngot  %s\nwant %s", attributes, got, want)
			}
			if got := chosen(s, r, sent(`{"type":"two","v":"x"}`)); got != "b" {
				t.Errorf("a message without attributes after %s: got %s", attributes, got)
			}
		}
	}
	if got := chosen(s, s.Reader(mask.Unkeyed()), &message.Message{ID: "x", HasSent: true}); got != "none no_body" {
		t.Errorf("without a body: got %s", got)
	}
}

// TestSetsThatDoNotLoad: what is certain never to happen is an error.
func TestSetsThatDoNotLoad(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		want   string
		models []string
	}{
		{"model a has no when, so it takes every message, and b after it gets none", []string{plain("a", "a"), taking("b", "one")}},
		{`models a and b both take messages in which $.type is "one"; a in m.yaml comes first, so b gets none of them`, []string{taking("a", "one"), taking("b", "one")}},
		{`models a and b both take messages in which $.n is 1.0; a in m.yaml comes first`, []string{when("path: $.n, one_of: [1]") + plain("a", "a"), when("path: $.n, one_of: [2, 1.0]") + plain("b", "b")}},
		{`models a and b both take messages in which $.n is true; a in m.yaml comes first`, []string{when("path: $.n, one_of: [true]") + plain("a", "a"), when("path: $.n, one_of: [true]") + plain("b", "b")}},
		{`models a and b both take messages in which the message attribute e is "x"`, []string{when("attribute: e, one_of: [x]") + plain("a", "a"), when("attribute: e, one_of: [x]") + plain("b", "b")}},
		{"all models say ignore: true", []string{ignoring("a", "one")}},
	} {
		var all []*model.Model
		for _, text := range tt.models {
			all = append(all, parse(t, text))
		}
		if _, err := model.NewSet(all...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

// TestTakers: all models whose when takes a message are told, and no other.
func TestTakers(t *testing.T) {
	t.Parallel()
	s := set(t, taking("a", "one"), when("path: $.kind, one_of: [x]")+plain("b", "b"), when("attribute: e, one_of: [go]")+plain("c", "c"), plain("rest", "rest"))
	r := s.Reader(mask.Unkeyed())
	msg := sent(`{"kind":"x","type":"one"}`)
	msg.Attributes = []byte(`{"e":{"dataType":"String","stringValue":"go"}}`)
	if got := r.Takers(msg); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("got %v", got)
	}
	if got, v := r.Choose(msg); got != 0 || !v.IsZero() || r.Of(got) == nil {
		t.Errorf("chosen is %d, %v", got, v)
	}
	for body, want := range map[string]int{`{"kind":"x"}`: 1, `{}`: 0, `{`: 0, `{"kind":"x","type":"a","type":"b"}`: 1} {
		if got := r.Takers(sent(body)); len(got) != want {
			t.Errorf("%s: got %v, want %d", body, got, want)
		}
	}
}

// TestUnknownMembersAndWhen: the member that chooses the model is one that it knows.
func TestUnknownMembersAndWhen(t *testing.T) {
	t.Parallel()
	s := set(t, "unknown: reject\n"+taking("a", "one"))
	r := s.Reader(mask.Unkeyed())
	for body, want := range map[string]string{`{"type":"one","v":"x"}`: "a", `{"type":"one","v":"x","w":1}`: "a unknown_member", `{"type":"one"}`: "a unrecognized"} {
		if got := chosen(s, r, sent(body)); got != want {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
	}
	if got := s.Models[0].Unread([]byte(`{"type":"one","v":"x","w":1}`)); len(got) != 1 || len(got[0].Unread) != 1 {
		t.Errorf("not read: %v, want w alone", got)
	}
}

// TestBudgetOfASet: all readers of a batch have one budget, and each model may use all of it for a
// message.
func TestBudgetOfASet(t *testing.T) {
	t.Parallel()
	s := set(t,
		when("path: $.type, one_of: [one]")+"unwrap: [base64, gzip]\n"+plain("a", "a"),
		when("path: $.type, one_of: [two]")+"unwrap: [base64, gzip]\nmax_unwrapped_bytes: 4000000\n"+plain("b", "b"))
	large := func(kind string) *message.Message {
		return sent(encoded(compressed(`{"type":"` + kind + `","v":"x"}` + strings.Repeat(" ", 3<<20))))
	}
	r := s.Reader(mask.Unkeyed())
	r.SetMost(4 << 20)
	for range 2 {
		r.Reset(time.Now())
		got := []string{chosen(s, r, large("two")), chosen(s, r, large("one")), chosen(s, r, large("two"))}
		if want := []string{"b", "none returned memory", "none returned memory"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		r.Reset(time.Now())
		if got := chosen(s, r, large("one")); got != "a" {
			t.Errorf("got %s, want a", got)
		}
	}
}

// TestSetsRelease: after a batch, a reader refers to none of its messages.
func TestSetsRelease(t *testing.T) {
	t.Parallel()
	s := set(t, taking("a", "one"), when("path: $.type, layer: 1, one_of: [two]")+"unwrap: [{json: $.Message}]\n"+plain("b", "b"), ignoring("c", "three"), plain("rest", "rest"))
	r := s.Reader(mask.Unkeyed())
	for _, body := range []string{`{"type":"one","v":"x"}`, `{"type":"one","v":"x","v":"y"}`, quoted(`{"type":"two","v":"x"}`), quoted(`{"type":"two","v":"x","v":"y"}`), `{"type":"three"}`, `{"v":"x"}`, `{`} {
		r.Reset(time.Now())
		text := func() weak.Pointer[byte] {
			msg := sent(body + strings.Repeat(" ", 64)) // not among the small objects that share memory
			chosen(s, r, msg)
			return weak.Make(&msg.Body[0])
		}()
		r.Release()
		runtime.GC()
		if text.Value() != nil {
			t.Errorf("%s: the reader keeps the body", body)
		}
		runtime.KeepAlive(r)
	}
}

// TestSetAllocatesNothing: in the steady state, whatever model takes a message.
func TestSetAllocatesNothing(t *testing.T) {
	const wrapped = "unwrap: [{json: $.Message}]\n"
	for _, tt := range []struct{ models, bodies []string }{
		{
			[]string{taking("a", "one"), taking("b", "two"), ignoring("c", "three"), when("attribute: e, one_of: [go]") + plain("d", "d"), plain("rest", "rest")},
			[]string{`{"type":"one","v":"x"}`, `{"type":"t\u0077o","v":"x"}`, `{"type":"three"}`, `{"v":"x"}`},
		},
		{
			[]string{when("path: $.type, layer: 1, one_of: [two]") + wrapped + plain("e", "e"), wrapped + plain("rest", "rest")},
			[]string{quoted(`{"type":"two","v":"x"}`), quoted(`{"type":2,"v":"x"}`)},
		},
	} {
		s := set(t, tt.models...)
		r, rows := s.Reader(mask.Unkeyed()), batch.New(s.Tables()...)
		for _, body := range tt.bodies {
			msg := sent(body)
			msg.Attributes = []byte(`{"e":{"dataType":"String","stringValue":"z"}}`)
			allocatesNothing(t, r, rows, msg)
		}
	}
}

// firstNames decodes JSON in which the first of equal names counts, as far as it can be decoded.
func firstNames(d *jsontext.Decoder) (v any, err error) {
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case '{':
		object := map[string]any{}
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil {
				return nil, err
			}
			text := name.String()
			value, err := firstNames(d)
			if err != nil {
				return nil, err
			}
			if _, there := object[text]; !there {
				object[text] = value
			}
		}
		_, err = d.ReadToken()
		return object, err
	case '[':
		list := []any{}
		for d.PeekKind() != ']' {
			value, err := firstNames(d)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err = d.ReadToken()
		return list, err
	case '"':
		return token.String(), nil
	case '0':
		return json.Number(token.String()), nil
	case 't', 'f':
		return token.Bool(), nil
	default:
		return nil, nil
	}
}

// FuzzChoice compares the choice among models with what their when says of the decoded body.
func FuzzChoice(f *testing.F) {
	type taken struct {
		path  string
		oneOf []any
	}
	all := []taken{
		{"$.type", []any{"one", "two"}},
		{"$.type.name", []any{"one", json.Number("1"), true}},
		{"$.Type", []any{"one"}},
		{"$.list[-1]", []any{"x", json.Number("1.5"), false}},
		{"$.list[0].type", []any{"one"}},
		{"$", []any{"ping", json.Number("0")}},
		{"$.type", []any{"three", json.Number("100"), false}},
	}
	var files []string
	for i, one := range all {
		list, _ := json.Marshal(one.oneOf)
		files = append(files, when(fmt.Sprintf("path: %q, one_of: %s", one.path, list))+plain(fmt.Sprintf("m%d", i), "t"))
	}
	s := set(f, files...)
	wrapped := make([]string, len(files))
	for i := range files {
		wrapped[i] = strings.Replace(files[i], "one_of", "layer: 1, one_of", 1) + "unwrap: [{json: $.Message}]\n"
	}
	inner := set(f, wrapped...)
	want := func(document any) int {
		for i, one := range all {
			p, _ := model.ParsePath(one.path)
			v, _ := follow(document, p)
			for _, known := range one.oneOf {
				number, ok := v.(json.Number)
				other, both := known.(json.Number)
				if known == v || ok && both && model.CompareNumbers(number.String(), other.String()) == 0 {
					return i
				}
			}
		}
		return -1
	}
	for _, body := range []string{
		`{"type":"one"}`, `{"type":"two","x":{"a":1,"a":2}}`, `{"type":{"name":1e0}}`, `{"Type":"one","type":"three"}`, `{"list":["x",1.5]}`, `{"list":[{"type":"one"}]}`, ` "ping" `, `-0`, `{"type":1e2}`,
		`{"type":"one","type":"two"}`, `{"type":{"name":1,"name":2},"Type":"one"}`, `{"list":[1,{"type":"one","type":1}]}`, `{"t\u0079pe":"\u006fne"}`, "\ufeff{}", `{"type":null,"list":[]}`,
	} {
		f.Add(body, `{"type":"two"}`)
	}
	f.Fuzz(func(t *testing.T, one, other string) {
		r, in := s.Reader(mask.Unkeyed()), inner.Reader(mask.Unkeyed())
		for _, body := range []string{one, other, one, one, other} {
			if strings.HasPrefix(body, "\ufeff") {
				continue
			}
			got, v := r.Choose(sent(body))
			last, err := decode(body)
			d := jsontext.NewDecoder(strings.NewReader(body), jsontext.AllowDuplicateNames(true))
			first, bad := firstNames(d)
			if err != nil || bad != nil || model.CheckJSON([]byte(body)).Reason != "" {
				if got >= 0 {
					t.Fatalf("%q, which is not JSON, is for model %d", body, got)
				}
				continue
			}
			switch a, b := want(last), want(first); {
			case v.Rejection.Reason == message.ReasonDuplicateKey:
				if jsontext.Value(body).IsValid() {
					t.Fatalf("%q has no name twice", body)
				}
			case got != a || got != b:
				t.Fatalf("%q: got model %d, want %d or %d", body, got, a, b)
			}
			if again, _ := in.Choose(sent(quoted(body))); strings.IndexFunc(body, func(c rune) bool { return c < ' ' }) < 0 && again != got {
				t.Fatalf("%q: got model %d in an inner layer, want %d", body, again, got)
			}
		}
	})
}

// decode decodes one JSON value.
func decode(body string) (v any, err error) {
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// BenchmarkChoice prints what a row costs whose model is chosen among three, beside one model.
func BenchmarkChoice(b *testing.B) {
	const fields = "key: [id]\nfields: {user: {type: text}, amount: {type: numeric}, note: {type: text}, flag: {type: boolean}}\ncolumns: {id: {type: uuid, meta: message_id}, user: {type: text, from: user}, amount: {type: numeric, from: amount}, note: {type: text, from: note}, flag: {type: boolean, from: flag}}\n"
	var three []string
	for _, name := range []string{"one", "two", "three"} {
		three = append(three, when("path: $.type, one_of: ["+name+"]")+"model: "+name+"\ntable: "+name+"\n"+fields)
	}
	single := set(b, "model: all\ntable: all\n"+fields)
	several := set(b, three...)
	bodies := make([]*message.Message, 3)
	for i, name := range []string{"one", "two", "three"} {
		bodies[i] = sent(fmt.Sprintf(`{"type": %q, "user": "424cdd21-063a-43a7-b91b-7ca1a833afae", "amount": 12.50, "note": "a text of some length", "flag": true, "more": {"a": [1, 2, 3], "b": "x"}}`, name))
	}
	for name, s := range map[string]*model.Set{"one model": single, "three models": several} {
		b.Run(name, func(b *testing.B) {
			benchmarkAppend(b, s.Reader(mask.Unkeyed()), batch.New(s.Tables()...), bodies...)
		})
	}
}
