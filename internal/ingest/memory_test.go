package ingest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// packed is a model whose bodies unwrap to up to 64 MiB each.
const packed = `
model: m
table: m
key: [message_id]
unwrap: [base64, zstd]
max_unwrapped_bytes: 67108864
fields: {user_id: {type: text}}
columns:
  user_id: {type: text, from: user_id}
  message_id: {type: uuid, meta: message_id}
`

func pack(t *testing.T, text []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(w.EncodeAll(text, nil)))
}

// TestMemory: what a batch has no memory for is returned, with the rest of its FIFO group, and fits
// into the next batch.
func TestMemory(t *testing.T) {
	t.Parallel()
	m, err := model.Parse("m.yaml", []byte(packed))
	if err != nil {
		t.Fatal(err)
	}
	st := &store{}
	var log bytes.Buffer
	p := ingest.New(m.Set(), st, ingest.Static(mask.Unkeyed()), slog.New(slog.NewJSONHandler(&log, nil)))
	large := pack(t, append(bytes.Repeat([]byte(" "), 30<<20), `{"user_id":"large"}`...)) // two fit into a batch
	for _, tt := range []struct{ messages, want, again string }{
		{"a b C d", "a:stored b:stored C:stored d:stored", ""},
		{"A b C D e", "A:stored b:stored C:stored D:returned(memory) e:returned(memory)", "D:stored e:stored"},
		{"g/A g/B g/C g/d h/e", "A:stored B:stored C:returned(memory) d:returned(group) e:returned(memory)", "C:stored d:stored e:stored"},
		{"A B A C!", "A:stored B:stored A:repeated C:rejected(not_base64)", ""},
	} {
		t.Run(tt.messages, func(t *testing.T) {
			all := messages(tt.messages)
			for i := range all {
				switch id := all[i].ID; {
				case string(all[i].Body) == "bad":
				case id == strings.ToUpper(id):
					all[i].Body = large
				default:
					all[i].Body = pack(t, fmt.Appendf(nil, `{"user_id":%q}`, id))
				}
			}
			report := p.Run(t.Context(), all)
			if got := words(report); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			var rest []message.Message
			for i, v := range report.Verdicts {
				if v.Outcome == message.Returned {
					rest = append(rest, all[i])
				}
			}
			if got := words(p.Run(t.Context(), rest)); got != tt.again {
				t.Errorf("the next batch: got %s, want %s", got, tt.again)
			}
			log.Reset()
			p.Log(t.Context(), &report, false)
			if got := strings.Contains(log.String(), `"cause":"memory"`); got != (tt.again != "") {
				t.Errorf("the log says why: %v\n%s", got, log.String())
			}
		})
	}
}

// TestMemoryOfOneMessage: a message that no batch has memory for is rejected, and does not come again
// for ever.
func TestMemoryOfOneMessage(t *testing.T) {
	t.Parallel()
	m, err := model.Parse("m.yaml", []byte(strings.Replace(packed, "[base64, zstd]", "[base64, zstd, base64, zstd]", 1)))
	if err != nil {
		t.Fatal(err)
	}
	p := ingest.New(m.Set(), &store{}, ingest.Static(mask.Unkeyed()), slog.New(slog.DiscardHandler))
	all := messages("a b")
	all[0].Body = pack(t, pack(t, []byte(`{"user_id":"a"}`)))
	all[1].Body = pack(t, pack(t, bytes.Repeat([]byte(" "), 64<<20)))
	if got, want := words(p.Run(t.Context(), all)), "a:stored b:returned(memory)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := words(p.Run(t.Context(), all[1:])), "b:rejected(too_large)"; got != want {
		t.Errorf("alone: got %s, want %s", got, want)
	}
}
