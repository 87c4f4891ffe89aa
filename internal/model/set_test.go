package model_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/models"
)

// plain is a model of one text, as a file.
func plain(name, table string) string {
	return fmt.Sprintf("model: %s\ntable: %s\nkey: [id]\nfields: {v: {type: text}}\ncolumns: {id: {type: uuid, meta: message_id}, v: {type: text, from: v}}\n", name, table)
}

// taking is a model of one text that takes messages of a type.
func taking(name, kind string) string {
	return when("path: $.type, one_of: [\""+kind+"\"]") + plain(name, name)
}

// ignoring is a model that discards messages of a type.
func ignoring(name, kind string) string {
	return when("path: $.type, one_of: [\""+kind+"\"]") + "model: " + name + "\nignore: true\n"
}

func when(settings string) string { return "when: {" + settings + "}\n" }

// set returns the set of models, given as files.
func set(t testing.TB, files ...string) *model.Set {
	t.Helper()
	var all []*model.Model
	for _, text := range files {
		all = append(all, parse(t, text))
	}
	s, err := model.NewSet(all...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// folder returns a folder of files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	path := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestLoadSet(t *testing.T) {
	t.Parallel()
	mine := folder(t, map[string]string{"b.yaml": plain("b", "t"), ".hidden.yaml": "?", "notes.txt": "?", "schema.json": "{}"})
	b := filepath.Join(mine, "b.yaml")
	same := filepath.Join(folder(t, map[string]string{"c.yaml": plain("b", "t")}), "c.yaml")
	taken := folder(t, map[string]string{"1.yaml": taking("m1", "one"), "2.yaml": taking("m2", "one")})
	bad := folder(t, map[string]string{"a.yaml": "model: [", "b.yaml": plain("b", "t"), "c.yml": "model: 1\n"})
	for _, tt := range []struct{ names, want string }{
		{"orders", "orders"},
		{b, "b"},
		{mine, "b"},
		{mine + "/", "b"},
		{"", "a name in the list of models is empty"},
		{"orders,,user_logins", "a name in the list of models is empty"},
		{"nosuch", `no model is named "nosuch"`},
		{mine + "/nosuch.yaml", "read the model file: open"},
		{mine + "/nosuch/", "read the model file: open"},
		{t.TempDir(), "has no model; put a file *.yaml there"},
		{bad, "a.yaml:1: "},
		{bad, "c.yml:1: model must be a text"},
		{b + "," + b, "the list of models has " + b + " twice"},
		{b + "," + same, same + ": two models are named b, the other one in " + b},
		{b + "," + same, b + ": model b has no when, so it takes every message"},
		{taken, filepath.Join(taken, "2.yaml") + ": models m1 and m2 both take messages in which $.type is \"one\"; m1 in " + filepath.Join(taken, "1.yaml") + " comes first"},
		{"testdata", `no model is named "testdata"; there are orders, user_logins, user_logins_plain, or for the folder of that name write ./testdata`},
	} {
		s, err := model.LoadSet(tt.names, models.FS)
		var got string
		if err != nil {
			got = err.Error()
		} else {
			for _, m := range s.Models {
				got += m.Name
			}
		}
		if !strings.Contains(got, tt.want) || err == nil && got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.names, got, tt.want)
		}
	}
}

// TestTablesOfASet: a batch has the tables in the order of the models, but for those that ignore their messages.
func TestTablesOfASet(t *testing.T) {
	t.Parallel()
	s := set(t, taking("b", "two"), ignoring("c", "three"), taking("a", "one"), plain("d", "d"))
	var got []int
	for i, table := range s.Tables() {
		m := s.ModelOf(i)
		got = append(got, m)
		if s.Models[m].Table != table {
			t.Errorf("the table of %s is another one", s.Models[m].Name)
		}
	}
	if want := []int{0, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("got the tables of the models %v, want %v", got, want)
	}
}

// TestSetOfOne: its reader does what the model's own does, and says which model it was.
func TestSetOfOne(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	s, err := model.NewSet(m)
	if err != nil || !s.Masks() {
		t.Fatal(s, err)
	}
	r, own := s.Reader(mask.Unkeyed()), m.Reader(mask.Unkeyed())
	for _, body := range []string{`{"user_id": "u", "ip": "1.2.3.4", "device_id": "d"}`, `{"user_id": 1}`, `{`, ``} {
		b, want := batch.New(s.Tables()...), batch.New(m.Table)
		msg := message.Message{ID: "x", Body: []byte(body), HasBody: true, HasSent: true}
		got, plain := r.Append(b, 0, 0, &msg), own.Append(want, 0, 0, &msg)
		if fmt.Sprint(got.Rejection) != fmt.Sprint(plain.Rejection) || b.Len() != want.Len() || (got.Model == 1) != (b.Len() == 0) {
			t.Errorf("%s: got %+v and %d rows, want %+v and %d", body, got, b.Len(), plain, want.Len())
		}
	}
}

// BenchmarkSet prints what a row of one model costs in a set, beside the model's own reader.
func BenchmarkSet(b *testing.B) {
	m := load(b, "user_logins")
	s, err := model.NewSet(m)
	if err != nil {
		b.Fatal(err)
	}
	msg := message.Message{ID: "059f36b4-87a3-44ab-83d2-661975830a7d", HasBody: true, HasSent: true, SentMillis: 1767225600000, Body: []byte(login)}
	for name, r := range map[string]appender{"own": m.Reader(mask.Unkeyed()), "set": s.Reader(mask.Unkeyed())} {
		b.Run(name, func(b *testing.B) {
			benchmarkAppend(b, r, batch.New(m.Table), &msg)
		})
	}
}

// login is a body of the model user_logins.
const login = `{"user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae", "app_version": "2.3.0", "device_type": "android", "ip": "199.172.111.135", "locale": "RU", "device_id": "593-47-5928"}`
