package models_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"example.com/owner/sluice/internal/model"
)

// update rewrites models/model.schema.json: go test ./test/models -run TestSchema -update.
var update = flag.Bool("update", false, "rewrite models/model.schema.json")

// TestSchemaIsWritten: models/model.schema.json is what `sluice schema --json-schema` prints.
func TestSchemaIsWritten(t *testing.T) {
	t.Parallel()
	const path = "../../models/model.schema.json"
	if *update {
		if err := os.WriteFile(path, model.JSONSchema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, model.JSONSchema()) {
		t.Error("models/model.schema.json is not what sluice schema --json-schema prints; run this test with -update")
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(model.JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("model.schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("model.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// validate checks a model file as an editor does.
func validate(schema *jsonschema.Schema, text []byte) error {
	var document any
	if err := yaml.UnmarshalWithOptions(text, &document, yaml.AllowDuplicateMapKey()); err != nil {
		return err
	}
	return schema.Validate(document)
}

// TestSchema compares the JSON Schema with the loader. Both accept the models of the repository, the
// examples of the documents and the files of good/, and both refuse the files of bad/. Those of
// only-loader/ are what a schema cannot say. The first line of a refused file is what the loader says.
func TestSchema(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	texts := map[string][]byte{}
	for _, pattern := range []string{"../../models/*.yaml", "../shapes/*/model.yaml", "good/*.yaml", "bad/*.yaml", "only-loader/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, path := range paths {
			if texts[path], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, e := range documented(t) {
		texts[fmt.Sprintf("example %d: %s", i+1, e.where)] = []byte(e.complete())
	}
	bad := 0
	for path, text := range texts {
		folder := filepath.Base(filepath.Dir(path))
		refused := folder == "bad" || folder == "only-loader"
		if folder == "bad" {
			bad++
		}
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			_, loading := model.Parse(path, text)
			validating := validate(schema, text)
			first, _, _ := strings.Cut(string(text), "\n")
			want := strings.TrimPrefix(first, "# ")
			switch {
			case !refused && loading != nil:
				t.Errorf("the loader refuses it: %v", loading)
			case !refused && validating != nil:
				t.Errorf("the schema refuses it: %v", validating)
			case refused && loading == nil:
				t.Error("the loader accepts it")
			case refused && (want == "" || !strings.Contains(loading.Error(), want)):
				t.Errorf("the loader says %q, want %q", loading, want)
			case folder == "bad" && validating == nil:
				t.Errorf("the schema accepts it; the loader says: %v", loading)
			case folder == "only-loader" && validating != nil:
				t.Errorf("the schema refuses it too; move it to bad/: %v", validating)
			}
		})
	}
	if bad < 40 {
		t.Errorf("only %d bad files", bad)
	}
}

// portable matches a regular expression that Go, ECMA-262 with and without the flag u, and Python read
// in the same way: ASCII or U+FFFD, few escapes, no classes with names, and no quantifier that is one
// to some only.
var portable = regexp.MustCompile(`^(?:` +
	`[^\\\[\](){}\x00-\x1f\x7f-\x{fffc}\x{fffe}-\x{10ffff}]` +
	`|\\(?:[\^$\\.*+?()\[\]{}|/]|x[0-7][0-9a-f])` +
	`|\[(?:[^\\\[\](){}\x00-\x1f\x7f-\x{fffc}\x{fffe}-\x{10ffff}]|\\(?:[\^$\\.*+?()\[\]{}|/]|x[0-7][0-9a-f]))+\]` +
	`|[()]` +
	`|\{[0-9]+(?:,[0-9]*)?\}` +
	`)*$`)

// isPortable refuses flags and names of groups too.
func isPortable(pattern string) bool {
	pattern = strings.ReplaceAll(pattern, "(?:", "(")
	return portable.MatchString(pattern) && !strings.Contains(pattern, "(?")
}

// TestPortable: what isPortable allows and refuses.
func TestPortable(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]bool{
		`^(?:[A-Za-z_.-]{1,128})$`: true, `[^"\\\x00-\x1f` + "\ufffd]+": true, `\$([.\[].*)?`: true, `[0-9]{2,}|\(\)`: true,
		`\x{80}`: false, `\A`: false, `\z`: false, `\pL`: false, `\p{L}`: false, `\Qa\E`: false, `\-`: false, `\d`: false, `[[:alpha:]]`: false,
		`(?i)a`: false, `(?i:a)`: false, `(?P<a>b)`: false, `a{,3}`: false, `a{`: false, `[]a]`: false, "\x00": false, "é": false, "\U00010000": false,
	} {
		if got := isPortable(pattern); got != want {
			t.Errorf("%q: got %v, want %v", pattern, got, want)
		}
	}
}

// TestSchemaIsPortable: every regular expression of the schema is one to any engine, and no list of
// schemas or values is empty or has one twice, which some validators refuse.
func TestSchemaIsPortable(t *testing.T) {
	t.Parallel()
	patterns := 0
	check := func(at, pattern string) {
		patterns++
		if _, err := regexp.Compile(pattern); err != nil || !isPortable(pattern) {
			t.Errorf("%s: %q is not portable (%v)", at, pattern, err)
		}
	}
	var walk func(at string, part any)
	walk = func(at string, part any) {
		switch part := part.(type) {
		case map[string]any:
			for name, value := range part {
				if pattern, ok := value.(string); ok && name == "pattern" {
					check(at, pattern)
				}
				if strings.HasSuffix(at, "/patternProperties") {
					check(at, name)
				}
				walk(at+"/"+name, value)
			}
		case []any:
			seen := map[string]bool{}
			for i, value := range part {
				if text := fmt.Sprintf("%T %[1]v", value); seen[text] {
					t.Errorf("%s has %v twice", at, value)
				} else {
					seen[text] = true
				}
				walk(fmt.Sprintf("%s/%d", at, i), value)
			}
			if len(part) == 0 {
				t.Errorf("%s is empty", at)
			}
		}
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(model.JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	walk("", document)
	if patterns < 30 {
		t.Errorf("only %d patterns", patterns)
	}
}

// TestEditorsFindTheSchema: model files to copy from name the schema in their first line.
func TestEditorsFindTheSchema(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"../../models/*.yaml", "../shapes/*/model.yaml"} {
		paths, _ := filepath.Glob(pattern) // the pattern is valid
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(text), "\n")
			named := strings.TrimPrefix(first, "# yaml-language-server: $schema=")
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), named)); named == first || err != nil {
				t.Errorf("%s: the first line names no schema: %q", path, first)
			}
		}
		if len(paths) == 0 {
			t.Errorf("no files %s", pattern)
		}
	}
}
