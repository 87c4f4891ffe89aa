package handler_test

import "testing"

// TestFIFO holds the rule of FIFO queues: nothing of a group is stored after
// what was not, whatever the reason; the other groups go on. The pipeline's own table, in
// internal/ingest, has more of the order of bad ones, refused ones and repeats.
func TestFIFO(t *testing.T) {
	t.Parallel()
	refused := body("locale", `"xx"`)
	user := func(name string) string { return body("user_id", quote(name)) }
	at := func(n int, name string) row { return stored(n, "user_id", name) }
	playAll(t, []testCase{
		{name: "all good", event: event(inGroup(1, "g1", user("a")), inGroup(2, "g1", user("b")), inGroup(3, "g2", user("c"))), rows: []row{at(1, "a"), at(2, "b"), at(3, "c")}},
		{name: "a refused one stops its group", event: event(inGroup(1, "g1", user("a")), inGroup(2, "g1", refused), inGroup(3, "g1", user("c")), inGroup(4, "g2", user("d"))), failed: ids(2, 3), rows: []row{at(1, "a"), at(4, "d")}},
		{name: "the first is refused", event: event(inGroup(1, "g1", refused), inGroup(2, "g1", user("b")), inGroup(3, "g1", user("c"))), failed: ids(1, 2, 3)},
		{
			name: "groups interleaved", event: event(inGroup(1, "g1", user("a")), inGroup(2, "g2", "bad"), inGroup(3, "g3", user("c")), inGroup(4, "g1", refused), inGroup(5, "g2", user("e")), inGroup(6, "g3", user("f")), inGroup(7, "g1", user("g")), inGroup(8, "g3", refused), inGroup(9, "g4", user("i")), inGroup(10, "g3", user("j"))),
			failed: ids(2, 4, 5, 7, 8, 10), rows: []row{at(1, "a"), at(3, "c"), at(6, "f"), at(9, "i")},
		},
		{name: "all groups stop at their first", event: event(inGroup(1, "g1", "bad"), inGroup(2, "g2", refused), inGroup(3, "g2", user("c")), inGroup(4, "g1", user("d"))), failed: ids(1, 2, 3, 4)},
		{name: "no group: one group of its own", event: event(inGroup(1, "", user("a")), inGroup(2, "", "bad"), inGroup(3, "", user("c")), inGroup(4, "g1", user("d"))), failed: ids(2, 3), rows: []row{at(1, "a"), at(4, "d")}},
		{name: "no group, refused", event: event(inGroup(1, "g1", user("a")), inGroup(2, "", refused), inGroup(3, "g1", user("c")), inGroup(4, "", user("d"))), failed: ids(2, 4), rows: []row{at(1, "a"), at(3, "c")}},
		{name: "an odd group is none", event: event(oddGroup(1, "null", "bad"), oddGroup(2, "7", user("b")), oddGroup(3, `""`, user("c")), inGroup(4, "", user("d")), inGroup(5, "7", user("e"))), failed: ids(1, 2, 3, 4), rows: []row{at(5, "e")}},
		{name: "groups that differ by case or space are two", event: event(inGroup(1, "g", "bad"), inGroup(2, "G", user("b")), inGroup(3, "g ", user("c"))), failed: ids(1), rows: []row{at(2, "b"), at(3, "c")}},
		{name: "a group spelled in two ways is one", event: event(oddGroup(1, `"\u0067"`, "bad"), inGroup(2, "g", user("b"))), failed: ids(1, 2)},
		{name: "a message without a time stops its group", event: event(inGroup(1, "g1", user("a")), inGroup(2, "g1", user("b"), "attributes", attributes("SentTimestamp", "", "MessageGroupId", `"g1"`)), inGroup(3, "g1", user("c"))), failed: ids(2, 3), rows: []row{at(1, "a")}},
		{name: "a message without a body stops its group", event: event(inGroup(1, "g1", user("a")), inGroup(2, "g1", "", "body", ""), inGroup(3, "g1", user("c"))), failed: ids(2, 3), rows: []row{at(1, "a")}},

		// repeats
		{name: "a refused one twice", event: event(inGroup(1, "g1", user("a")), inGroup(2, "g1", refused), inGroup(2, "g1", refused), inGroup(3, "g2", user("c"))), failed: ids(2), rows: []row{at(1, "a"), at(3, "c")}},

		// by the queue's name alone
		{name: "a group on a standard queue", event: event(inGroup(1, "g1", "bad", "eventSourceARN", quote(queueARN)), inGroup(2, "g1", user("b"), "eventSourceARN", quote(queueARN))), failed: ids(1), rows: []row{at(2, "b")}},
		{name: "a group without an ARN", event: event(inGroup(1, "g1", "bad", "eventSourceARN", ""), inGroup(2, "g1", user("b"), "eventSourceARN", "")), failed: ids(1), rows: []row{at(2, "b")}},
		{name: "fifo within a name", event: event(inGroup(1, "g1", "bad", "eventSourceARN", quote(fifoARN+"-x")), inGroup(2, "g1", user("b"), "eventSourceARN", quote(fifoARN+"-x"))), failed: ids(1), rows: []row{at(2, "b")}},
		{name: "two queues", event: event(inGroup(1, "g1", "bad"), inGroup(2, "g1", user("b"), "eventSourceARN", quote(queueARN)), inGroup(3, "g1", user("c"))), failed: ids(1, 3), rows: []row{at(2, "b")}},
		{name: "an ARN as escapes", event: event(inGroup(1, "g1", "bad", "eventSourceARN", `"`+queueARN+`\u002efifo"`), inGroup(2, "g1", user("b"), "eventSourceARN", `"`+queueARN+`\u002efifo"`)), failed: ids(1, 2)},
		{name: "Pipes", event: pipes(inGroup(1, "g1", user("a")), inGroup(2, "g1", "bad"), inGroup(3, "g1", user("c")), inGroup(4, "g2", user("d"))), failed: ids(2, 3), rows: []row{at(1, "a"), at(4, "d")}},

		// a batch above what is probed one by one
		manyGroups(),
	})
}

// oddGroup is message n on a FIFO queue with a group of raw JSON.
func oddGroup(n int, group, body string) string {
	return inGroup(n, "", body, "attributes", attributes("MessageGroupId", group))
}

// manyGroups has 100 groups of three, of which the second message of every
// other group is refused.
func manyGroups() testCase {
	c := testCase{name: "100 groups"}
	var records []string
	n := 0
	for place := range 3 {
		for group := range 100 {
			n++
			b := body()
			stops := group%2 == 0
			if stops && place == 1 {
				b = body("locale", `"xx"`)
			}
			if stops && place >= 1 {
				c.failed = append(c.failed, id(n))
			} else {
				c.rows = append(c.rows, stored(n))
			}
			records = append(records, inGroup(n, "g"+id(group), b))
		}
	}
	c.event = event(records...)
	return c
}
