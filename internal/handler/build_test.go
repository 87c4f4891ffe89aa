package handler_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The builders below write JSON by hand, so that a case can say anything.

// object is a JSON object whose members are raw JSON. Each change is a pair of
// a name and its raw value; an empty one removes the member, and a new name is
// appended.
func object(base [][2]string, change ...string) string {
	members := append([][2]string{}, base...)
	for pair := range slices.Chunk(change, 2) {
		i := slices.IndexFunc(members, func(m [2]string) bool { return m[0] == pair[0] })
		if i < 0 {
			i = len(members)
			members = append(members, [2]string{pair[0]})
		}
		members[i][1] = pair[1]
	}
	var parts []string
	for _, m := range members {
		if m[1] != "" {
			parts = append(parts, `"`+m[0]+`":`+m[1])
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// body is the text of a good body with changes.
func body(change ...string) string {
	return object([][2]string{
		{"user_id", `"u-1"`}, {"device_type", `"android"`}, {"ip", `"203.0.113.7"`}, {"device_id", `"d-1"`}, {"locale", `"en_US"`}, {"app_version", `"2.3.0"`},
	}, change...)
}

// base is the row of body(), but for what comes with the message.
func base() row {
	return row{
		"user_id": "u-1", "device_type": "android", "masked_ip": sum("203.0.113.7"), "masked_device_id": sum("d-1"), "locale": "en_US",
		"app_version": 2, "app_version_full": "2.3.0", "mask_key": "sha256",
	}
}

const (
	queueARN = "arn:aws:sqs:us-east-1:000000000000:login-queue"
	fifoARN  = queueARN + ".fifo"
	newYear  = 1767225600000 // 2026-01-01 00:00 UTC
)

// id is the messageId of message n.
func id(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// ids are several of them.
func ids(n ...int) (all []string) {
	for _, n := range n {
		all = append(all, id(n))
	}
	return all
}

func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}

// attributes are a record's, with changes.
func attributes(change ...string) string {
	return object([][2]string{
		{"ApproximateReceiveCount", `"1"`},
		{"SentTimestamp", fmt.Sprintf(`"%d"`, newYear)},
		{"SenderId", `"AIDATEST"`},
		{"ApproximateFirstReceiveTimestamp", `"1767225600001"`},
	}, change...)
}

// record is message n with a body, and changes of its members.
func record(n int, body string, change ...string) string {
	return object([][2]string{
		{"messageId", quote(id(n))},
		{"receiptHandle", fmt.Sprintf(`"rh-%d"`, n)},
		{"body", quote(body)},
		{"attributes", attributes()},
		{"messageAttributes", "{}"},
		{"md5OfBody", `"x"`},
		{"eventSource", `"aws:sqs"`},
		{"eventSourceARN", quote(queueARN)},
		{"awsRegion", `"us-east-1"`},
	}, change...)
}

// inGroup is message n on a FIFO queue; an empty group leaves it out.
func inGroup(n int, group, body string, change ...string) string {
	a := attributes("SequenceNumber", fmt.Sprintf(`"%d"`, 100+n), "MessageDeduplicationId", fmt.Sprintf(`"%d"`, n))
	if group != "" {
		a = strings.Replace(a, "{", `{"MessageGroupId":`+quote(group)+",", 1)
	}
	return record(n, body, append([]string{"eventSourceARN", quote(fifoARN), "attributes", a}, change...)...)
}

func event(records ...string) []byte {
	return []byte(`{"Records":[` + strings.Join(records, ",") + `]}`)
}

// pipes is the event as EventBridge Pipes sends it.
func pipes(records ...string) []byte { return []byte(`[` + strings.Join(records, ",") + `]`) }

// stored is the row of message n; changes are pairs of a column and its value.
func stored(n int, change ...any) row {
	r := base()
	r["message_id"] = id(n)
	sent(r, newYear)
	for pair := range slices.Chunk(change, 2) {
		column, _ := pair[0].(string)
		r[column] = pair[1]
	}
	return r
}

// sent dates a row.
func sent(r row, millis int64) row {
	at := time.UnixMilli(millis).UTC()
	r["create_date"] = at.Format(time.DateOnly)
	r["sent_at"] = at.Format("2006-01-02 15:04:05.999+00")
	return r
}

// sum is the mask of a canonical text without a key.
func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// single is a body, and what becomes of it.
type single struct {
	name     string
	body     string
	rejected bool
	change   []any // of its row
	only     string
}

// good is a body that is stored; changes are those of its row.
func good(name, body string, change ...any) single {
	return single{name: name, body: body, change: change}
}

// bad is a body that is rejected.
func bad(name, body string) single { return single{name: name, body: body, rejected: true} }

// on limits a body to one model.
func (s single) on(model string) single {
	s.only = model
	return s
}

// alone makes a case of each body.
func alone(all ...single) (cases []testCase) {
	for _, s := range all {
		c := goodRecord(s.name, record(2, s.body), stored(2, s.change...))
		if s.rejected {
			c = badRecord(s.name, record(2, s.body))
		}
		c.only = s.only
		cases = append(cases, c)
	}
	return cases
}

// together makes one event of many bodies, for each model.
func together(name string, all []single) (cases []testCase) {
	for _, only := range loginModels {
		c := testCase{name: name, only: only, names: map[string]string{}}
		var records []string
		for n, s := range all {
			if s.only != "" && s.only != only {
				continue
			}
			c.names[id(n)] = s.name
			records = append(records, record(n, s.body))
			if s.rejected {
				c.failed = append(c.failed, id(n))
			} else {
				c.rows = append(c.rows, stored(n, s.change...))
			}
		}
		c.event = event(records...)
		cases = append(cases, c)
	}
	return cases
}

// several makes one event of records that are each made of a value, and are
// all stored as the same row or all rejected.
func several(name string, rejected bool, values []string, with func(n int, value string) string) testCase {
	c := testCase{name: name, names: map[string]string{}}
	var records []string
	for n, value := range values {
		records = append(records, with(n, value))
		c.names[id(n)] = fmt.Sprintf("%.60q", value)
		if rejected {
			c.failed = append(c.failed, id(n))
		} else {
			c.rows = append(c.rows, stored(n))
		}
	}
	c.event = event(records...)
	return c
}

// between puts the record of a message between two good ones.
func between(record2 string) []byte {
	return event(record(1, body("user_id", `"first"`)), record2, record(3, body("user_id", `"last"`)))
}

// goodRecord is a record that is stored as a row.
func goodRecord(name, record string, r row) testCase {
	return testCase{name: name, event: between(record), rows: []row{stored(1, "user_id", "first"), r, stored(3, "user_id", "last")}}
}

// badRecord is a record that is rejected, and costs nobody else.
func badRecord(name, record string) testCase {
	return testCase{name: name, event: between(record), failed: ids(2), rows: []row{stored(1, "user_id", "first"), stored(3, "user_id", "last")}}
}

// broken is an event that fails the invocation, and stores nothing.
func broken(name string, event []byte) testCase {
	return testCase{name: name, event: event, failure: true}
}

// with gives a case an environment.
func (c testCase) with(env map[string]string) testCase {
	c.env = maps.Clone(env)
	return c
}

// repeat is a text n times.
func repeat(text string, n int) string { return strings.Repeat(text, n) }
