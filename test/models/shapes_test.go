package models_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqsevent"
)

// shape is a kind of message that services send, in a folder of test/shapes: model.yaml, body.json
// (or body.txt), row.json (the row by column), attributes.json (of the message, if it has some) and
// others.json with more messages.
type shape struct {
	name  string
	model *model.Model
	cases []shapeCase
}

// shapeCase is one message.
type shapeCase struct {
	Why string `json:"why"`
	// Body is an object, or a text in quotes.
	Body       json.RawMessage   `json:"body"`
	Attributes map[string]string `json:"attributes"`
	// Row is the row by column, or a list of the rows; sha256(x) stands for the mask of x. Without it, Rejected is why the
	// message has none, and Says is in what people read of it.
	Row      json.RawMessage `json:"row"`
	Rejected string          `json:"rejected"`
	Says     string          `json:"says"`
}

// queue is the queue of the shapes' messages.
const queue = "readings"

// text returns the body as it is sent.
func (c *shapeCase) text(t *testing.T) string {
	t.Helper()
	var text string
	if c.Body[0] == '"' {
		unmarshal(t, c.Body, &text)
		return text
	}
	return string(c.Body)
}

func unmarshal(t *testing.T, text []byte, to any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(to); err != nil {
		t.Fatalf("%v in %.200s", err, text)
	}
}

func readShapes(t *testing.T) (shapes []shape) {
	t.Helper()
	models, err := filepath.Glob("../shapes/*/model.yaml")
	if err != nil || len(models) < 12 {
		t.Fatalf("only %d shapes: %v", len(models), err)
	}
	for _, path := range models {
		folder := filepath.Dir(path)
		m, err := model.Load(path, nil)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		read := func(name string) []byte {
			text, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			return bytes.TrimSpace(text)
		}
		first := shapeCase{Why: "body.json", Body: read("body.json"), Row: read("row.json")}
		if text := read("body.txt"); text != nil {
			first.Body, _ = json.Marshal(string(text)) // a text always can be
		}
		if attributes := read("attributes.json"); attributes != nil {
			unmarshal(t, attributes, &first.Attributes)
		}
		var others []shapeCase
		unmarshal(t, read("others.json"), &others)
		shapes = append(shapes, shape{filepath.Base(folder), m, append([]shapeCase{first}, others...)})
	}
	return shapes
}

// TestShapesAreRead checks every message of test/shapes without a database: what is rejected, and
// which columns are NULL.
func TestShapesAreRead(t *testing.T) {
	t.Parallel()
	for _, s := range readShapes(t) {
		for _, c := range s.cases {
			t.Run(s.name+"/"+c.Why, func(t *testing.T) {
				t.Parallel()
				msg := messages(t, queue, c.text(t), c.Attributes)
				rows := batch.New(s.model.Table)
				verdict := s.model.Reader(mask.Unkeyed()).Append(rows, 0, 0, &msg[0])
				if c.Row == nil {
					switch rejection := verdict.Rejection.String(); {
					case strings.HasPrefix(c.Rejected, string(message.ReasonRefused)): // only the database knows
					case rows.Len() > 0 || said(&verdict) != "rejected: "+c.Rejected:
						t.Errorf("got %s, want rejected: %s", said(&verdict), c.Rejected)
					case !strings.Contains(rejection, c.Says):
						t.Errorf("got %q, want %q in it", rejection, c.Says)
					}
					return
				}
				if rows.Len() == 0 {
					t.Fatalf("rejected: %s", verdict.Rejection)
				}
				want := rowsOf(t, c.Row)
				if rows.Rows() != len(want) {
					t.Fatalf("got %d rows, want %d", rows.Rows(), len(want))
				}
				for k := range want {
					compare := func(i int, v []byte) {
						name := rows.Columns(0)[i].Name
						if value, listed := want[k][name]; !listed || (v == nil) != (value == nil) {
							t.Errorf("row %d, column %s: NULL is %t, want %v (%t)", k+1, name, v == nil, value, listed)
						}
					}
					if k == 0 {
						rows.Row(0, compare)
					} else {
						rows.MoreRow(0, k-1, compare)
					}
				}
			})
		}
	}
}

// rowsOf returns the rows of a case: one, or a list of them.
func rowsOf(t *testing.T, text []byte) (rows []map[string]any) {
	t.Helper()
	if text[0] == '[' {
		unmarshal(t, text, &rows)
		return rows
	}
	rows = make([]map[string]any, 1)
	unmarshal(t, text, &rows[0])
	return rows
}

var masked = regexp.MustCompile(`sha256\([^)"]*\)`)

// TestShapesAreStored stores every message of test/shapes in a real Postgres, twice, and compares the
// row.
func TestShapesAreStored(t *testing.T) {
	t.Parallel()
	for _, s := range readShapes(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			tab := newTable(t, s.model, "")
			for _, c := range s.cases {
				t.Run(c.Why, func(t *testing.T) {
					got := tab.deliver(t, queue, c.text(t), c.Attributes)
					want, wantRows := "rejected: "+c.Rejected, []map[string]any(nil)
					if c.Row != nil {
						want, wantRows = "stored", rowsOf(t, masked.ReplaceAllFunc(c.Row, func(v []byte) []byte {
							return []byte(sum(string(v[len("sha256(") : len(v)-1])))
						}))
					}
					if got != want {
						t.Fatalf("got %s, want %s", got, want)
					}
					rows := tab.db.Rows(t, "SELECT row_to_json(t) FROM "+s.model.Table.Name+" t")
					stored := make([]map[string]any, len(rows))
					for i := range rows {
						unmarshal(t, []byte(rows[i][0]), &stored[i])
					}
					if diff := cmp.Diff(stored, wantRows, cmpopts.EquateEmpty()); diff != "" {
						t.Errorf("rows got(-) want(+):\n%s", diff)
					}
				})
			}
		})
	}
}

// TestEventsOfShapes: events/NAME.json has messages of test/shapes/NAME, for `sluice invoke` and `sam
// local invoke`, and what becomes of them is what the shape says.
func TestEventsOfShapes(t *testing.T) {
	t.Parallel()
	found := 0
	for _, s := range readShapes(t) {
		event, err := os.ReadFile("../../events/" + s.name + ".json")
		if err != nil {
			continue // not every shape has an event
		}
		found++
		all, err := sqsevent.Decode(event)
		if err != nil {
			t.Fatal(err)
		}
		reader := s.model.Reader(mask.Unkeyed())
		for i := range all {
			rows := batch.New(s.model.Table)
			verdict := reader.Append(rows, 0, 0, &all[i])
			at := slices.IndexFunc(s.cases, func(c shapeCase) bool { return compact(c.text(t)) == compact(string(all[i].Body)) })
			switch {
			case at < 0:
				t.Errorf("events/%s.json: message %d is not in test/shapes", s.name, i)
			case (rows.Len() == 1) != (s.cases[at].Row != nil):
				t.Errorf("events/%s.json: message %d: %s, but test/shapes wants %q", s.name, i, said(&verdict), s.cases[at].Rejected)
			}
		}
	}
	if found < 4 {
		t.Errorf("only %d events of shapes", found)
	}
}

// compact returns JSON without white space, and any other text as it is.
func compact(text string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return text
	}
	return b.String()
}
