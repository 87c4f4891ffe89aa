package models_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"

	"sluice/internal/model"
)

// mutants returns a document with one value changed, removed or added, for each place in it.
func mutants(document any, replace func(any)) {
	values := []any{true, false, 0, 1, -1, 1.5, "", "x", "text", "1", "string", []any{}, []any{"x"}, []any{"string"}, []any{"number"}, []any{1}, map[string]any{}}
	switch d := document.(type) {
	case map[string]any:
		for name, value := range d {
			for _, other := range values {
				d[name] = other
				replace(nil)
			}
			delete(d, name)
			replace(nil)
			d[name] = value
			mutants(value, replace)
		}
	case []any:
		for i, value := range d {
			for _, other := range values {
				d[i] = other
				replace(nil)
			}
			d[i] = value
			mutants(value, replace)
		}
	}
}

// TestSchemaOfMutants changes one value of a good file at a time: what the schema refuses, the loader
// refuses too.
func TestSchemaOfMutants(t *testing.T) {
	t.Parallel()
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
			tried, both, loader := 0, 0, 0
			var seen []string
			mutants(document, func(any) {
				tried++
				mutant, err := yaml.Marshal(document)
				if err != nil {
					t.Fatal(err)
				}
				_, loading := model.Parse("m.yaml", mutant)
				validating := validate(schema, mutant)
				switch {
				case loading == nil && validating != nil:
					t.Errorf("the schema refuses what the loader accepts: %v\n%s", validating, mutant)
				case loading != nil && validating != nil:
					both++
				case loading != nil:
					loader++
					if said := fmt.Sprint(loading); os.Getenv("SHOW") != "" && !slices.Contains(seen, said) {
						seen = append(seen, said)
						t.Log(said)
					}
				}
			})
			t.Logf("%d mutants: %d refused by both, %d by the loader alone", tried, both, loader)
		})
	}
}
