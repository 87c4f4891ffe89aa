package ingest_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/testlog"
	"example.com/owner/sluice/models"
)

// several returns models for the bodies of messages, and one that ignores those of the user "ignored".
func several(t *testing.T, names ...string) *model.Set {
	t.Helper()
	list := []string{}
	for _, name := range append(names, "ignored") {
		path := filepath.Join(t.TempDir(), name+".yaml")
		text := "model: " + name + "\nwhen: {path: $.user_id, one_of: [" + name + "]}\n"
		if name == "ignored" {
			text += "ignore: true\n"
		} else {
			text += "table: " + name + "\nkey: [user_id]\nfields: {user_id: {type: text, required: true}}\ncolumns: {user_id: {type: text, from: user_id}}\n"
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		list = append(list, path)
	}
	set, err := model.LoadSet(strings.Join(list, ","), models.FS)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// of returns messages of these users.
func of(users ...string) []message.Message {
	all := make([]message.Message, len(users))
	for i, user := range users {
		all[i] = message.Message{ID: fmt.Sprint("m", i), HasBody: true, HasSent: true, SentMillis: 1767225600000, ReceiveCount: 1, Body: []byte(`{"user_id":"` + user + `"}`)}
	}
	return all
}

// TestSpecialOutcomes in the log: a line for each of the first conflicts, and counts in the line of the
// batch.
func TestSpecialOutcomes(t *testing.T) {
	t.Parallel()
	const n = 3 * ingest.MaxLines
	st := &store{verdict: func(b *batch.Batch) (message.Result, error) {
		r := message.Result{Verdicts: make([]message.Verdict, b.Len()), RoundTrips: 2}
		for i := range r.Verdicts {
			r.Verdicts[i].Outcome = message.Stored
			switch user := value(b, i, "user_id"); {
			case b.Table(i) == 0:
				r.Verdicts[i].Rejection = message.Rejection{Reason: message.ReasonConflict, Detail: "the stored row is of message m-0"}
			case user == "states" && b.Message(i)%2 == 0:
				r.Verdicts[i].Outdated = true
			}
		}
		*r.Tallies.Of(1) = message.Tally{Inserted: 1, Replaced: 2}
		return r, nil
	}}
	log := &testlog.Log{}
	p := ingest.New(several(t, "orders", "states"), st, ingest.Static(mask.Unkeyed()), slog.New(slog.NewJSONHandler(log, nil)))
	users := strings.Split(strings.Repeat("orders ", n)+"states states states states states states ignored canary", " ")
	all := of(users...)
	all = append(all, all[0], all[n]) // repeated messages are duplicates, whatever the first was
	report := p.Run(t.Context(), all)
	p.Log(t.Context(), &report, false)
	p.LogBatch(t.Context(), &report)
	text := log.String()
	for want, times := range map[string]int{
		`"level":"WARN","msg":"message in conflict: another message has stored its key with other content","message_id":"m`:                        ingest.MaxLines,
		`"message_id":"m0","model":"orders","detail":"the stored row is of message m-0"}`:                                                          1,
		fmt.Sprintf(`"msg":"more messages in conflict","count":%d}`, n-ingest.MaxLines):                                                            1,
		`"msg":"message rejected","message_id":"m67","reason":"no_model"`:                                                                          1,
		`"stored":1,"duplicate":2,"replaced":2,"outdated":3,"conflict":60,"ignored":1,"rejected":1,"returned":0,"round_trips":2`:                   1,
		`"models":{"orders":{"duplicate":1,"conflict":60},"states":{"stored":1,"duplicate":1,"replaced":2,"outdated":3},"ignored":{"ignored":1}}}`: 1,
	} {
		if got := strings.Count(text, want); got != times {
			t.Errorf("got %d lines with %s, want %d", got, want, times)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestWaitsByModel: each model says how long its own messages wait for rows that they refer to.
func TestWaitsByModel(t *testing.T) {
	t.Parallel()
	set := several(t, "orders", "states")
	set.Models[1].ForeignKeyReceives = 3
	st := &store{verdict: func(b *batch.Batch) (message.Result, error) {
		r := message.Result{Verdicts: make([]message.Verdict, b.Len())}
		for i := range r.Verdicts {
			r.Verdicts[i] = message.Verdict{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonRefused, SQLState: "23503"}}
		}
		return r, nil
	}}
	log := &testlog.Log{}
	p := ingest.New(set, st, ingest.Static(mask.Unkeyed()), slog.New(slog.NewJSONHandler(log, nil)))
	all := of("orders", "states", "states")
	all[2].ReceiveCount = 3
	report := p.Run(t.Context(), all)
	const refused = "refused_by_database"
	if got, want := words(report), "m0:rejected("+refused+") m1:returned(foreign_key"+refused+") m2:rejected("+refused+")"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	p.Log(t.Context(), &report, false)
	if want := `"message_id":"m1","model":"states","cause":"foreign_key","receives":1,"rejected_at":3`; !strings.Contains(log.String(), want) {
		t.Errorf("the log lacks %s: %s", want, log.String())
	}
}

// TestOneModelIsNotNamed in the log.
func TestOneModelIsNotNamed(t *testing.T) {
	t.Parallel()
	log := &testlog.Log{}
	p := ingest.New(logins(t).Set(), &store{}, ingest.Static(mask.Unkeyed()), slog.New(slog.NewJSONHandler(log, nil)))
	report := p.Run(t.Context(), messages("a b!"))
	p.Log(t.Context(), &report, false)
	p.LogBatch(t.Context(), &report)
	if text := log.String(); strings.Contains(text, "model") || !strings.Contains(text, `"stored":1,"duplicate":0,"rejected":1,"returned":0,"round_trips":1,"database_ms":`) {
		t.Errorf("the log is %s", text)
	}
	if got := report.Model(&report.Verdicts[1]); got != "user_logins" {
		t.Errorf("the rejected message is of the model %q", got)
	}
}
