package models_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"sluice/internal/model"
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
