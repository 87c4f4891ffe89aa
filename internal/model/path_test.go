package model_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

func TestPaths(t *testing.T) {
	for _, tt := range []struct{ text, want string }{ // want is the usual form
		{"$", "$"},
		{"$.a", "$.a"},
		{"$.a.b_2.ü", "$.a.b_2.ü"},
		{"$['a']", "$.a"},
		{`$["a"]`, "$.a"},
		{"$['odd name']", "$['odd name']"},
		{"$['user.id']", "$['user.id']"},
		{`$['it\'s']["a\"b"]`, `$['it\'s']['a"b']`},
		{`$["it's"]`, `$['it\'s']`},
		{`$['a"b']`, `$['a"b']`},
		{`$['\u00fc\ud83d\ude00']`, "$.ü😀"},
		{`$['\n']`, `$['\n']`},
		{`$['\\']`, `$['\\']`},
		{"$['']", "$['']"},
		{"$[0]", "$[0]"},
		{"$[-1].a[10]", "$[-1].a[10]"},
		{"$ .a [ 0 ] [ 'b' ]", "$.a[0].b"},
	} {
		p, err := model.ParsePath(tt.text)
		if err != nil || p.String() != tt.want {
			t.Errorf("%s: got %s %v, want %s", tt.text, p, err, tt.want)
			continue
		}
		if again, err := model.ParsePath(p.String()); err != nil || again.String() != tt.want {
			t.Errorf("%s: its usual form %s reads as %s %v", tt.text, p, again, err)
		}
	}
	for _, text := range []string{
		"", "a", ".a", "a.b", "/a", "$a", "$.", "$..a", "$.*", "$[*]", "$[1:2]", "$[:]", "$[?@.a]", "$[0,1]", "$['a','b']", "$.1a", "$.a-b", "$. a",
		"$[", "$[]", "$[0", "$['a]", "$['a'", "$[01]", "$[-0]", "$[-]", "$[1.0]", "$[+1]", "$[1000001]", "$[99999999999999999999]", `$['\x']`, `$['\ud800']`, `$["\'"]`,
		"$['a\n']", "$.a ", "$ ", "$.a\xff", "$" + strings.Repeat(".a", 33),
	} {
		if p, err := model.ParsePath(text); err == nil {
			t.Errorf("%q is taken for %s", text, p)
		}
	}
}

// shape returns a model with fields that read texts at paths, each into a column of its name, and
// further lines.
func shape(t testing.TB, more string, fields ...string) *model.Model {
	t.Helper()
	text := "model: m\ntable: t\nkey: [id]\n" + more + "\nfields:\n"
	columns := "columns:\n  id: {type: uuid, meta: message_id}\n"
	for _, f := range fields {
		text += "  " + f + "\n"
		name, rest, _ := strings.Cut(f, ":")
		sqlType := "text"
		if strings.Contains(rest, "type: json") {
			sqlType = "json"
		}
		columns += fmt.Sprintf("  %s: {type: %s, from: %[1]s}\n", name, sqlType)
	}
	m, err := model.Parse("m.yaml", []byte(text+columns))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// outcome returns the row as text, without its id, or the rejection.
func outcome(t testing.TB, m *model.Model, body string) string {
	t.Helper()
	row, bad := read(t, m, body)
	if bad.Reason != "" {
		texts := []string{bad.String()}
		for _, more := range bad.More {
			texts = append(texts, more.String())
		}
		return strings.Join(texts, " | ")
	}
	var all []string
	for _, c := range m.Columns[1:] {
		all = append(all, row[c.Name])
	}
	return strings.Join(all, ", ")
}

func TestReadingPaths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		fields []string
		body   string
		want   string
	}{
		{"nested", []string{"a: {type: text, path: $.x.y.z}", "b: {type: text, path: $.x.w}"}, `{"q":[{"x":{"y":1}}],"x":{"w":"2","y":{"v":0,"z":"1"}}}`, "1, 2"},
		{"names that need quotes", []string{`a: {type: text, path: "$['user.id']"}`, `b: {type: text, path: "$['a \"b\"']['']"}`}, `{"user.id":"1","a \"b\"":{"":"2"}}`, "1, 2"},
		{"names that begin alike", []string{"a: {type: text, path: $.x}", "b: {type: text, path: $.xy}", `c: {type: text, path: "$['x\"']"}`, `d: {type: text, path: "$['x\\\\']"}`}, `{"xyz":"0","x":"1","x\"":"3","xy":"2","x\\":"4","x\\\"":"5"}`, "1, 2, 3, 4"},
		{"names that another field's name begins", []string{`a: {type: text, path: "$['x\\\\']"}`, `b: {type: text, path: "$['\\n']"}`}, `{"x\\\\":"0","x\\":"1","\u000a":"2"}`, "1, 2"},
		{"names with escapes", []string{"a: {type: text, path: $.x.y}"}, `{"\u0078":{"\u0079":"1"}}`, "1"},
		{"elements", []string{`a: {type: text, path: "$.x[0]"}`, `b: {type: text, path: "$.x[2]"}`, `c: {type: text, path: "$.x[-1]"}`, `d: {type: text, path: "$.x[-4]"}`}, `{"x":[ "0" , "1","2" ]}`, "0, 2, 2, NULL"},
		{"one element from both ends", []string{`a: {type: text, path: "$.x[0].y"}`, `b: {type: text, path: "$.x[-1].z"}`}, `{"x":[{"y":"1","z":"2"}]}`, "1, 2"},
		{"an empty array", []string{`a: {type: text, path: "$.x[0]"}`, `b: {type: text, path: "$.x[-1]"}`, "c: {type: text, path: $.y}"}, `{"x":[],"y":"1"}`, "NULL, NULL, 1"},
		{"arrays in arrays", []string{`a: {type: text, path: "$.x[-1][-2].y"}`}, `{"x":[[1],[{"y":"0"},{"y":"1"},{"y":"2"}]]}`, "1"},
		{"a root that is an array", []string{`a: {type: text, path: "$[1].y"}`}, ` [0,{"y":"1"}] `, "1"},
		{"the root", []string{"a: {type: json, path: $}", "b: {type: text, path: $.y}"}, ` {"y":"1"} `, `{"y":"1"}, 1`},
		{"a root that is a number", []string{"a: {type: json, path: $}"}, ` 12 `, "12"},
		{"a root that is null", []string{"a: {type: json, path: $}"}, "null", "NULL"},
		{"a path that ends where another goes on", []string{"a: {type: json, path: $.x}", `b: {type: text, path: "$.x[0].y"}`}, `{"x":[{"y":"1"}]}`, `[{"y":"1"}], 1`},
		{"two fields with one path", []string{"a: {type: text, path: $.x}", "b: {type: json, path: $.x}"}, `{"x":"1"}`, `1, "1"`},
		{"absent steps", []string{"a: {type: text, path: $.x.y.z}", "b: {type: text, path: $.w}"}, `{"x":{"q":1},"w":"1"}`, "NULL, 1"},
		{"a step that is null", []string{"a: {type: text, path: $.x.y}"}, `{"x":null}`, "NULL"},
		{"a value that is null", []string{"a: {type: text, path: $.x.y}"}, `{"x":{"y":null}}`, "NULL"},
		{"a step of another kind", []string{"a: {type: text, path: $.x.y}", "b: {type: text, path: $.w}"}, `{"x":"canary","w":"1"}`, "wrong_type a: $.x: expected an object, found a string"},
		{"an array for an object", []string{"a: {type: text, path: $.x.y}"}, `{"x":[{"y":"1"}],"a":1}`, "wrong_type a: $.x: expected an object, found an array"},
		{"an object for an array", []string{`a: {type: text, path: "$.x[0]"}`, "b: {type: text, path: $.w}"}, `{"x":{"0":"1"},"w":"1"}`, "wrong_type a: $.x: expected an array, found an object"},
		{"a json value beside a step of another kind", []string{"a: {type: json, path: $.x}", "b: {type: text, path: $.x.y}"}, `{"x":[1]}`, "wrong_type b: $.x: expected an object, found an array"},
		{"candidates: the first", []string{"a: {type: text, path: [$.userId, $.user_id]}"}, `{"user_id":"2","userId":"1"}`, "1"},
		{"candidates: the second, for a null", []string{"a: {type: text, path: [$.userId, $.user_id]}"}, `{"user_id":"2","userId":null}`, "2"},
		{"candidates: none", []string{"a: {type: text, required: true, path: [$.userId, $.user_id]}", "b: {type: text}"}, `{"b":"2"}`, "missing a: expected a value, found nothing at $.userId or $.user_id"},
		{"candidates: a step of another kind before the value", []string{"a: {type: text, path: [$.user.id, $.user]}"}, `{"user":"1"}`, "1"},
		{"candidates: only steps of another kind", []string{"a: {type: text, path: [$.user.id, $.user.name]}"}, `{"user":"1"}`, "wrong_type a: $.user: expected an object, found a string"},
		{"candidates that differ in case", []string{"a: {type: text, path: [$.userId, $.userid]}"}, `{"userid":"1"}`, "1"},
		{"another case, nested", []string{"a: {type: text, path: $.x.y}", "b: {type: text}"}, `{"x":{"Y":"1"},"b":"2"}`, "key_case a: expected exactly $.x.y"},
		{"another case on the way", []string{"a: {type: text, path: $.x.y}", "b: {type: text}"}, `{"X":{"y":"1"},"b":"2"}`, "key_case a: expected exactly $.x"},
		{"another case where nothing is read", []string{"a: {type: text}"}, `{"a":"1","x":{"A":1}}`, "1"},
		{"a duplicate name, nested", []string{"a: {type: text, path: $.x.y}"}, `{"x":{"y":"1","y":"1"}}`, "duplicate_key at byte 15"},
		{"paths to members and to elements of one array", []string{"a: {type: text, path: $.x.y}", `b: {type: text, path: "$.x[0]"}`}, `{"x":["1"]}`, "wrong_type a: $.x: expected an object, found an array"},
		{"paths to members and to elements of one object", []string{"a: {type: text, path: $.x.y}", `b: {type: text, path: "$.x[0]"}`}, `{"x":{"y":"1"}}`, "wrong_type b: $.x: expected an array, found an object"},
		{"paths to members and to elements of a text", []string{"a: {type: text, path: $.x.y}", `b: {type: text, path: "$.x[0]"}`}, `{"x":"y"}`, "wrong_type a: $.x: expected an object or an array, found a string | wrong_type b: $.x: expected an object or an array, found a string"},
		{"nothing matches, required with a default", []string{"a: {type: text, required: true, default: x}", "b: {type: text, required: true}"}, `{"z":1}`, "unrecognized: required and missing: b"},
		{"several problems", []string{"a: {type: text, required: true}", "b: {type: text}", "c: {type: text}"}, `{"b":1,"c":true}`, "missing a: expected a value, found nothing at $.a | wrong_type b: expected a string, found a number | wrong_type c: expected a string, found a boolean"},
		{"nothing matches", []string{"a: {type: text}", "b: {type: text, path: $.x.y}"}, `{"A":1,"z":"canary"}`, "key_case a: expected exactly $.a | unrecognized"},
		{"nothing matches, required", []string{"a: {type: text, required: true}", "b: {type: text}"}, `{"z":1}`, "unrecognized: required and missing: a"},
		{"nothing but an empty object", []string{"a: {type: text}"}, `{}`, "unrecognized"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := outcome(t, shape(t, "", tt.fields...), tt.body); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	many := make([]string, 12)
	body := "{"
	for i := range many {
		many[i] = fmt.Sprintf("f%d: {type: text}", i)
		body += fmt.Sprintf(`"f%d":%[1]d,`, i)
	}
	_, bad := read(t, shape(t, "", many...), strings.TrimSuffix(body, ",")+"}")
	if len(bad.More)+1 != message.MaxProblems || bad.Omitted != len(many)-message.MaxProblems {
		t.Errorf("%d problems are listed and %d omitted, want %d and %d", len(bad.More)+1, bad.Omitted, message.MaxProblems, len(many)-message.MaxProblems)
	}
}

func compressed(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

func zstandard(text string) string {
	w, _ := zstd.NewWriter(nil)
	return string(w.EncodeAll([]byte(text), nil))
}

// zstandardWindow returns a frame that asks for a window of a size before its first byte.
func zstandardWindow(text string, window int) string {
	var b bytes.Buffer
	w, _ := zstd.NewWriter(&b, zstd.WithWindowSize(window))
	_, _ = w.Write([]byte(text))
	_ = w.Flush()
	_ = w.Close()
	return b.String()
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestUnwrap(t *testing.T) {
	t.Parallel()
	const a = "a: {type: text}"
	for _, tt := range []struct {
		name, more string
		fields     []string
		body       string
		want       string
	}{
		{"JSON in a string", "unwrap: [{json: $.Message}]", []string{a, "topic: {type: text, path: $.TopicArn, layer: 0}"}, `{"TopicArn":"arn","Message":"{\"a\":\"1 \\u00e9\"}"}`, "1 é, arn"},
		{"twice", `unwrap: [{json: $.x}, {json: "$.y[0]"}]`, []string{a, "b: {type: text, layer: 0}", "c: {type: text, layer: 1}"}, `{"b":"2","x":"{\"c\":\"3\",\"y\":[\"{\\\"a\\\":\\\"1\\\"}\"]}"}`, "1, 2, 3"},
		{"a byte order mark and white space inside", "unwrap: [{json: $.x}]", []string{a}, `{"x":"\ufeff {\"a\":\"1\"} \n"}`, "1"},
		{"base64", "unwrap: [base64]", []string{a}, encoded(`{"a":"1"}`), "1"},
		{"base64 in lines", "unwrap: [base64]", []string{a}, encoded(`{"a":"1"}`)[:8] + "\r\n" + encoded(`{"a":"1"}`)[8:] + "\n", "1"},
		{"gzip in base64", "unwrap: [base64, gzip]", []string{a}, encoded(compressed(`{"a":"1"}`)), "1"},
		{"zstd in base64", "unwrap: [base64, zstd]", []string{a}, encoded(zstandard(`{"a":"1"}`)), "1"},
		{"gzip in base64 in a member", "unwrap: [{json: $.data}, base64, gzip]", []string{a, "b: {type: text, layer: 0}"}, `{"b":"2","data":"` + encoded(compressed(`{"a":"1"}`)) + `"}`, "1, 2"},
		{"nothing to unwrap", "unwrap: [{json: $.Message}]", []string{a}, `{"a":"1"}`, "not_wrapped: $.Message is absent"},
		{"null to unwrap", "unwrap: [{json: $.Message}]", []string{a}, `{"Message":null}`, "not_wrapped: $.Message is null"},
		{"an object to unwrap", "unwrap: [{json: $.detail}]", []string{a}, `{"detail":{"a":"1"}}`, "not_wrapped: $.detail: expected a string that holds JSON, found an object; paths reach into it without unwrap"},
		{"a step of another kind", "unwrap: [{json: $.x.y}]", []string{a}, `{"x":1}`, "not_wrapped: $.x.y is absent"},
		{"no JSON inside", "unwrap: [{json: $.Message}]", []string{a}, `{"Message":"canary"}`, "not_json at byte 1: after unwrap in the text of $.Message; a word without double quotes"},
		{"no object inside", "unwrap: [{json: $.Message}]", []string{a}, `{"Message":"[1]"}`, "not_an_object: after unwrap in the text of $.Message; expected an object, found an array"},
		{"no JSON outside", "unwrap: [{json: $.Message}]", []string{a}, `canary`, "not_json at byte 1: a word without double quotes"},
		{"duplicate inside", "unwrap: [{json: $.Message}]", []string{a}, `{"Message":"{\"a\":1,\"a\":1}"}`, "duplicate_key at byte 8: after unwrap in the text of $.Message"},
		{"another case inside", "unwrap: [{json: $.Message}]", []string{a, "b: {type: text}"}, `{"Message":"{\"A\":\"1\",\"b\":\"1\"}"}`, "key_case a: expected exactly $.a"},
		{"another case outside", "unwrap: [{json: $.Message}]", []string{a, "b: {type: text, layer: 0}"}, `{"B":"1","Message":"{\"a\":\"1\"}"}`, "key_case b: expected exactly $.b"},
		{"the string in another case", "unwrap: [{json: $.Message}]", []string{a}, `{"message":"{\"a\":\"1\"}"}`, "not_wrapped: $.Message is absent"},
		{"nothing matches inside", "unwrap: [{json: $.Message}]", []string{a, "topic: {type: text, path: $.TopicArn, layer: 0}"}, `{"TopicArn":"arn","Message":"{}"}`, "unrecognized"},
		{"null on the way", "unwrap: [{json: $.x.y}]", []string{a}, `{"x":null}`, "not_wrapped: $.x is null"},
		{"cut off inside", "unwrap: [{json: $.data}, base64, gzip]", []string{a}, `{"data":"` + encoded(compressed("\xef\xbb\xbf"+`{"a":"1"`)) + `"}`, "not_json at byte 11: after unwrap of base64 and gzip in the text of $.data; it ends too early"},
		{"not JSON in base64", "unwrap: [base64]", []string{a}, encoded(`{"a" "1"}`), "not_json at byte 6: after unwrap of base64; a colon is missing"},
		{"not base64", "unwrap: [base64]", []string{a}, `{"a":"1"}`, "not_base64"},
		{"base64 of URLs", "unwrap: [base64]", []string{a}, "_-8=", "not_base64"},
		{"base64 without padding", "unwrap: [base64]", []string{a}, "eyJhIjoiMSJ9IA", "not_base64"},
		{"not gzip", "unwrap: [base64, gzip]", []string{a}, encoded(`{"a":"1"}`), "not_gzip"},
		{"cut gzip", "unwrap: [base64, gzip]", []string{a}, encoded(compressed(`{"a":"1"}`)[:20]), "not_gzip"},
		{"not zstd", "unwrap: [base64, zstd]", []string{a}, encoded(`{"a":"1"}`), "not_zstd"},
		{"cut zstd", "unwrap: [base64, zstd]", []string{a}, encoded(zstandard(`{"a":"1"}`)[:15]), "not_zstd"},
		{"nothing", "unwrap: [base64, gzip]", []string{a}, "", "not_gzip"},
		{"exactly the limit", "unwrap: [base64, gzip]\nmax_unwrapped_bytes: 1000", []string{"a: {type: json, path: $}"}, encoded(compressed(strings.Repeat(" ", 999) + "1")), "1"},
		{"above the limit", "unwrap: [base64, gzip]\nmax_unwrapped_bytes: 1000", []string{"a: {type: json, path: $}"}, encoded(compressed(strings.Repeat(" ", 1000) + "1")), "too_large: expected at most max_unwrapped_bytes"},
		{"a bomb of gzip", "unwrap: [base64, gzip]", []string{a}, encoded(strings.Repeat(compressed(strings.Repeat(" ", 1<<20)), 8) + compressed(" ")), "too_large: expected at most max_unwrapped_bytes"},
		{"a bomb of zstd", "unwrap: [base64, zstd]\nmax_unwrapped_bytes: 65536", []string{a}, encoded(zstandard(strings.Repeat(" ", 1<<20))), "too_large: expected at most max_unwrapped_bytes"},
		{"a frame of zstd that wants a large window", "unwrap: [base64, zstd]", []string{a}, encoded(zstandardWindow(`{"a":"1"}`, 32<<20)), "too_large: expected at most max_unwrapped_bytes"},
		{"a large window that the model allows", "unwrap: [base64, zstd]\nmax_unwrapped_bytes: 33554432", []string{a}, encoded(zstandardWindow(`{"a":"1"}`, 32<<20)), "1"},
		{"unknown members inside", "unwrap: [{json: $.x}]\nunknown: reject", []string{a}, `{"x":"{\"a\":\"1\",\"canary\":1}"}`, "unknown_member"},
		{"unknown members outside", "unwrap: [{json: $.x}]\nunknown: reject", []string{a}, `{"x":"{\"a\":\"1\"}","y":1}`, "1"},
		{"unknown members, nested", "unknown: reject", []string{"a: {type: text, path: $.x.y}"}, `{"x":{"y":"1","canary":1}}`, "unknown_member"},
		{"unknown elements", "unknown: reject", []string{`a: {type: text, path: "$.x[0]"}`}, `{"x":["1","canary"]}`, "unknown_member"},
		{"elements that are all read", "unknown: reject", []string{`a: {type: text, path: "$.x[0]"}`, `b: {type: text, path: "$.x[-1]"}`}, `{"x":["1","2"]}`, "1, 2"},
		{"unknown members of what is read whole", "unknown: reject", []string{"a: {type: json, path: $.x}", `b: {type: text, path: "$.x[0].y.z"}`}, `{"x":[{"y":{"z":"1","w":2},"v":1},{}]}`, `[{"y":{"z":"1","w":2},"v":1},{}], 1`},
		{"empty, and that is allowed", "allow_empty: true", []string{a, "b: {type: text}"}, `{"canary":1}`, "NULL, NULL"},
		{"empty and allowed, but required", "allow_empty: true", []string{"a: {type: text, required: true}"}, `{"canary":1}`, "missing a: expected a value, found nothing at $.a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := outcome(t, shape(t, tt.more, tt.fields...), tt.body); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestEnvelopes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, path, body, want string }{
		{"SNS", "", `{"Type":"Notification","TopicArn":"arn","Message":"{\"user_id\":\"1\"}"}`, "the body looks like an SNS notification: write unwrap: [{json: $.Message}], or turn on raw message delivery for the subscription"},
		{"EventBridge", "", `{"version":"0","detail-type":"x","source":"y","detail":{"user_id":"1"}}`, "the body looks like an EventBridge event: begin paths with $.detail, as in path: $.detail.user_id"},
		{"CloudEvents", "", `{"specversion":"1.0","type":"x","source":"y","id":"1","data":{"user_id":"1"}}`, "the body looks like a CloudEvent: begin paths with $.data, as in path: $.data.user_id"},
		{"S3", "", `{"Records":[{"eventSource":"aws:s3","s3":{"object":{"key":"k"}}}]}`, `the body looks like an S3 notification: write rows: "$.Records[*]", and begin paths in a record, as in path: $.s3.object.key`},
		{"DynamoDB", "", `{"eventID":"1","eventName":"INSERT","dynamodb":{"NewImage":{"user_id":{"S":"1"}}}}`, "the body looks like a DynamoDB stream record: begin paths with $.dynamodb.NewImage and end them with the type, as in path: $.dynamodb.NewImage.user_id.S"},
		{"a model that knows", "path: $.detail.user, ", `{"detail-type":"x","source":"y","detail":{"user_id":"1"}}`, ""},
		{"none", "", `{"Records":[1],"Message":"x"}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			required := "required and missing: user_id"
			want := "unrecognized: " + required
			if tt.want != "" {
				want += "; " + tt.want
			}
			if got := outcome(t, shape(t, "", "user_id: {type: text, "+tt.path+"required: true}"), tt.body); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// TestEnvelopeIsToldOnce, however many fields are missing.
func TestEnvelopeIsToldOnce(t *testing.T) {
	t.Parallel()
	m := shape(t, "", "Type: {type: text, required: true}", "a: {type: text, required: true}", "b: {type: text, required: true}")
	const want = "missing a: expected a value, found nothing at $.a; the body looks like an SNS notification: write unwrap: [{json: $.Message}], or turn on raw message delivery for the subscription | missing b: expected a value, found nothing at $.b"
	if got := outcome(t, m, `{"Type":"Notification","TopicArn":"arn","Message":"{}"}`); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestBudgetOfABatch has bodies that unwrap to more than one batch may have: the first of them that
// does not fit is returned, not rejected, and so are all after it, until the next batch.
func TestBudgetOfABatch(t *testing.T) {
	t.Parallel()
	m := shape(t, "unwrap: [base64, gzip]\nmax_unwrapped_bytes: 32768", "a: {type: text}")
	large := []byte(encoded(compressed(`{"a":"1"}` + strings.Repeat(" ", 30<<10))))
	small := []byte(encoded(compressed(`{"a":"1"}`)))
	r := m.Reader(mask.Unkeyed())
	if before := r.SetMost(64 << 10); before != 64<<20 {
		t.Errorf("a batch may unwrap to %d bytes, want 64 MiB", before)
	}
	for range 2 {
		r.Reset(time.Now())
		b := batch.New(m.Table)
		var got []string
		for i, body := range [][]byte{large, large, small, large, small} {
			v := r.Append(b, i, 0, &message.Message{ID: "x", Body: body, HasBody: true, HasSent: true})
			got = append(got, fmt.Sprint(v.Outcome, v.Cause))
		}
		if want := []string{"returned", "returned", "returned", "returnedmemory", "returnedmemory"}; !slices.Equal(got, want) || b.Len() != 3 {
			t.Errorf("got %q and %d rows, want %q and 3", got, b.Len(), want)
		}
	}
}

// TestBombsUseTheBudget: a body that is rejected for its size takes its part of the batch's budget, so
// that a batch of bombs takes bounded time.
func TestBombsUseTheBudget(t *testing.T) {
	t.Parallel()
	m := shape(t, "unwrap: [base64, gzip]\nmax_unwrapped_bytes: 20000000", "a: {type: text}")
	bomb := []byte(encoded(strings.Repeat(compressed(strings.Repeat(" ", 1<<20)), 21)))
	r, b := m.Reader(mask.Unkeyed()), batch.New(m.Table)
	r.Reset(time.Now())
	var got []string
	for i := range 6 {
		v := r.Append(b, i, 0, &message.Message{ID: "x", Body: bomb, HasBody: true, HasSent: true})
		got = append(got, string(v.Rejection.Reason)+string(v.Cause))
	}
	if want := []string{"too_large", "too_large", "too_large", "memory", "memory", "memory"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUnread(t *testing.T) {
	t.Parallel()
	m := shape(t, "unwrap: [{json: $.Message}]", "a: {type: text, path: $.x.y}", "b: {type: json}", `c: {type: text, path: "$.z[0].w"}`)
	got := m.Unread([]byte(`{"Type":"t","Message":"{\"x\":{\"y\":\"1\",\"odd name\":{\"q\":1}},\"b\":{\"n\":1},\"z\":[{\"v\":1},{\"u\":1}],\"last\":[]}"}`))
	var lines []string
	for _, o := range got {
		line := fmt.Sprint(o.Layer, " ", o.Path)
		for _, m := range o.Unread {
			line += fmt.Sprintf(", %s %s", model.Path{m.Segment}, m.Value)
		}
		lines = append(lines, line)
	}
	want := []string{`0 $, $.Type "t"`, `1 $, $.last []`, `1 $.x, $['odd name'] {"q":1}`, `1 $.z, $[1] {"u":1}`, `1 $.z[0], $.v 1`}
	if diff := cmp.Diff(lines, want); diff != "" {
		t.Error(diff)
	}
}

// follow finds the value at a path in a decoded document, the slow way.
func follow(document any, p model.Path) (v any, kind bool) {
	for _, s := range p {
		switch in := document.(type) {
		case nil:
			return nil, true
		case map[string]any:
			if s.Element {
				return nil, false
			}
			document = in[s.Name]
		case []any:
			if !s.Element {
				return nil, false
			}
			i := s.Index
			if i < 0 {
				i += len(in)
			}
			if i < 0 || i >= len(in) {
				return nil, true
			}
			document = in[i]
		default:
			return nil, false
		}
	}
	return document, true
}

// FuzzPaths compares what a reader finds at two paths with what they lead to in the decoded body.
func FuzzPaths(f *testing.F) {
	for _, s := range [][3]string{
		{"$.a.b", "$.a", `{"a":{"b":1,"c":[]}}`},
		{"$[-1][0]", "$[0]", `[[1],[2,{"a":null}]]`},
		{"$['']['x y']", "$", ` {"":{"x y":"\u0041"}} `},
		{"$.a[-2].b", "$.a[1].c", `{"a":[{"b":1},{"c":2,"b":null},3]}`},
		{"$", "$.a", "12"},
		{"$.A", "$.b.a", `{"a":1,"b":{"a":"}]"}}`},
	} {
		f.Add(s[0], s[1], []byte(s[2]))
	}
	f.Fuzz(func(t *testing.T, first, second string, body []byte) {
		var paths []model.Path
		text := "model: m\ntable: t\nkey: [id]\nallow_empty: true\nfields:\n"
		for i, s := range []string{first, second} {
			p, err := model.ParsePath(s)
			if err != nil {
				return
			}
			if again, err := model.ParsePath(p.String()); err != nil || !slices.Equal(p, again) {
				t.Fatalf("%q prints as %s, which reads as %v %v", s, p, again, err)
			}
			paths = append(paths, p)
			quoted, _ := json.Marshal(p.String())
			text += fmt.Sprintf("  f%d: {type: json, path: %s}\n", i, quoted)
		}
		m, err := model.Parse("m.yaml", []byte(text+"columns:\n  id: {type: uuid, meta: message_id}\n  f0: {type: json, from: f0}\n  f1: {type: json, from: f1}\n"))
		if err != nil {
			return // paths that differ in case only
		}
		b := batch.New(m.Table)
		bad := m.Reader(mask.Unkeyed()).Append(b, 0, 0, &message.Message{ID: "x", Body: body, HasBody: true, HasSent: true})
		var document any
		decoder := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
		decoder.UseNumber()
		err = decoder.Decode(&document)
		if !bad.IsZero() {
			_, kind0 := follow(document, paths[0])
			_, kind1 := follow(document, paths[1])
			if r := bad.Rejection.Reason; err == nil && kind0 && kind1 && (r == message.ReasonWrongType || r == message.ReasonMissing || r == message.ReasonUnrecognized) {
				t.Fatalf("%s is rejected for %v", body, bad)
			}
			return
		}
		if err != nil {
			t.Fatalf("a body that is not JSON has a row: %v", err)
		}
		b.Row(0, func(c int, v []byte) {
			if c == 0 {
				return
			}
			want, kind := follow(document, paths[c-1])
			var got any
			if v != nil {
				d := json.NewDecoder(bytes.NewReader(v))
				d.UseNumber()
				if err := d.Decode(&got); err != nil {
					t.Fatalf("%q: %v", v, err)
				}
			}
			if !kind || !cmp.Equal(got, want) {
				t.Errorf("%s at %s: got %v, want %v", body, paths[c-1], got, want)
			}
		})
	})
}

// FuzzUnwrap feeds every step: no panic, and no more memory than the limits say.
func FuzzUnwrap(f *testing.F) {
	inner := `{"a":"1"}`
	for _, s := range []string{encoded(inner), encoded(compressed(inner)), encoded(zstandard(inner)), `{"x":"{\"a\":\"1\"}"}`, `{"x":"` + encoded(compressed(inner)) + `"}`, encoded(compressed(strings.Repeat(" ", 9000)))} {
		f.Add([]byte(s))
	}
	var readers []*model.Reader
	var all []*model.Model
	for _, steps := range []string{"[base64]", "[base64, gzip]", "[base64, zstd]", "[{json: $.x}]", "[{json: $.x}, base64, gzip]", "[gzip]", "[zstd]"} {
		m := shape(f, "max_unwrapped_bytes: 8192\nunwrap: "+steps, "a: {type: text}", "b: {type: text, layer: 0}")
		all, readers = append(all, m), append(readers, m.Reader(mask.Unkeyed()))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for i, r := range readers {
			r.Reset(time.Time{})
			b := batch.New(all[i].Table)
			if v := r.Append(b, 0, 0, &message.Message{ID: "x", Body: body, HasBody: true, HasSent: true}); v.IsZero() != (b.Len() == 1) {
				t.Fatalf("%v with %d rows", v, b.Len())
			}
			all[i].Unread(body)
		}
	})
}

// BenchmarkPaths prints what a row of ten texts costs if they are members of the body, and if they
// are at paths in it.
func BenchmarkPaths(b *testing.B) {
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	flat, nested := "{", `{"id":"evt_1","type":"x","data":{"object":{`
	var fields, paths []string
	for i, name := range names {
		flat += fmt.Sprintf("%q: %q, ", "field_"+name, "value "+name)
		fields = append(fields, "field_"+name+": {type: text}")
		if i == 5 {
			nested = strings.TrimSuffix(nested, ", ") + `}, "customer":{"address":{`
		}
		at := "$.data.object.field_"
		if i >= 5 {
			at = "$.data.customer.address.field_"
		}
		nested += fmt.Sprintf("%q: %q, ", "field_"+name, "value "+name)
		paths = append(paths, "field_"+name+": {type: text, path: "+at+name+"}")
	}
	flat = strings.TrimSuffix(flat, ", ") + "}"
	nested = strings.TrimSuffix(nested, ", ") + "}}}}"
	ways := []struct {
		m    *model.Model
		body string
		took time.Duration
	}{{m: shape(b, "", fields...), body: flat}, {m: shape(b, "", paths...), body: nested}}
	n := 0
	b.ReportAllocs()
	readers := []*model.Reader{ways[0].m.Reader(mask.Unkeyed()), ways[1].m.Reader(mask.Unkeyed())}
	rows := []*batch.Batch{batch.New(ways[0].m.Table), batch.New(ways[1].m.Table)}
	for b.Loop() {
		for i := range ways {
			msg := message.Message{ID: "059f36b4-87a3-44ab-83d2-661975830a7d", HasBody: true, HasSent: true, Body: []byte(ways[i].body)}
			start := time.Now()
			rows[i].Reset()
			for range 100 {
				if v := readers[i].Append(rows[i], 0, 0, &msg); !v.IsZero() {
					b.Fatal(v)
				}
			}
			ways[i].took += time.Since(start)
		}
		n += 100
	}
	b.ReportMetric(float64(ways[0].took.Nanoseconds())/float64(n), "flat-ns/row")
	b.ReportMetric(float64(ways[1].took.Nanoseconds())/float64(n), "paths-ns/row")
	b.ReportMetric(float64(ways[1].took)/float64(ways[0].took), "of-flat")
	b.ReportMetric(0, "ns/op")
}
