package model_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// flags says what a table does about a stored key.
func flags(m *model.Model) (text string) {
	text = []string{"keep:", "replace:", "reject:"}[m.Table.OnConflict]
	for _, c := range m.Table.Columns {
		switch {
		case c.NewerBy:
			text += " newer by " + c.Name
		case c.MessageID:
			text += " the id is " + c.Name
		case c.Compared:
			text += " compares " + c.Name
		}
	}
	return text
}

// states has columns of all kinds.
const states = `model: m
table: t
key: [id]
fields:
  id: {type: integer, required: true}
  v: {type: text}
  n: {type: integer, default: 0}
  ip: {type: ip, personal: true}
columns:
  id: {type: bigint, from: id}
  v: {type: text, from: v}
  n: {type: integer, from: n}
  ip: {type: text, from: ip, masked: true}
  c: {type: text, value: web}
  k: {type: text, meta: mask_key}
  sent_at: {type: timestamptz, meta: sent_at}
  seq: {type: "numeric(20)", meta: sequence_number}
  message_id: {type: uuid, meta: message_id}
`

func TestOnConflict(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]string{
		"":                                    "keep: compares v compares n the id is message_id",
		"on_conflict: keep":                   "keep: compares v compares n the id is message_id",
		"on_conflict: reject":                 "reject: compares v compares n the id is message_id",
		"on_conflict: replace\nnewer_by: n":   "replace: newer by n the id is message_id",
		"on_conflict: replace\nnewer_by: seq": "replace: newer by seq the id is message_id",
		"on_conflict: replace":                "replace: newer by seq the id is message_id",
	} {
		if got := flags(parse(t, states+more+"\n")); got != want {
			t.Errorf("%q: got %s, want %s", more, got, want)
		}
	}
	ledger := parse(t, strings.Replace(states, "key: [id]", "ledger: l", 1))
	if got, want := flags(ledger), "keep: the id is message_id the id is message_id"; got != want {
		t.Errorf("with a ledger: got %s, want %s", got, want)
	}
}

// TestNewerBySequenceNumber: its column is never NULL, so a message of a standard queue is rejected.
func TestNewerBySequenceNumber(t *testing.T) {
	t.Parallel()
	m := parse(t, states+"on_conflict: replace\n")
	msg := message.Message{ID: "x", Body: []byte(`{"id":1}`), HasBody: true, HasSent: true}
	_, bad := readMessage(t, m, time.Time{}, msg)
	if want := "missing column seq: expected a sequence number, which only messages of a FIFO queue have"; bad.String() != want {
		t.Errorf("got %s, want %s", bad, want)
	}
	msg.SequenceNumber = "18849496460467696128"
	row, bad := readMessage(t, m, time.Time{}, msg)
	if !bad.IsZero() || row["seq"] != msg.SequenceNumber {
		t.Errorf("got %v, %s", row, bad)
	}
	ddl := strings.Join(m.DDL(), "\n")
	for _, want := range []string{`"seq"        numeric(20,0) NOT NULL`, `SequenceNumber of a FIFO queue; the row with the greatest one stays`} {
		if !strings.Contains(ddl, want) {
			t.Errorf("the DDL lacks %s:\n%s", want, ddl)
		}
	}
	plain := parse(t, states)
	if _, bad := readMessage(t, plain, time.Time{}, message.Message{ID: "x", Body: []byte(`{"id":1}`), HasBody: true, HasSent: true}); !bad.IsZero() {
		t.Errorf("without replace: %s", bad)
	}
	at := plain.Table.Columns[7]
	if diff := cmp.Diff(at, batch.Column{Name: "seq", Kind: batch.Text, Type: "numeric(20,0)"}); diff != "" {
		t.Error(diff)
	}
}
