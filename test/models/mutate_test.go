package models_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"

	"sluice/internal/model"
)

// mutants changes or removes one value of a document at a time, and calls try each time.
func mutants(document any, try func()) {
	values := []any{true, 1, "", "text", []any{"string"}}
	switch d := document.(type) {
	case map[string]any:
		for name, value := range d {
			for _, other := range values {
				d[name] = other
				try()
			}
			delete(d, name)
			try()
			d[name] = value
			mutants(value, try)
		}
	case []any:
		for i, value := range d {
			for _, other := range values {
				d[i] = other
				try()
			}
			d[i] = value
			mutants(value, try)
		}
	}
}

// TestSchemaOfMutants changes one value of a good file at a time: what the schema refuses, the loader
// refuses too.
func TestSchemaOfMutants(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("thousands of mutants take some seconds: not with -short")
	}
	schema := compileSchema(t)
	paths, err := filepath.Glob("good/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range paths {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var document any
			if err := yaml.Unmarshal(text, &document); err != nil {
				t.Fatal(err)
			}
			tried := 0
			mutants(document, func() {
				tried++
				validating := schema.Validate(document)
				if validating == nil {
					return
				}
				mutant, err := yaml.Marshal(document)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := model.Parse("m.yaml", mutant); err == nil {
					t.Errorf("the schema refuses what the loader accepts: %v\n%s", validating, mutant)
				}
			})
			if tried < 50 {
				t.Errorf("only %d mutants", tried)
			}
		})
	}
}
