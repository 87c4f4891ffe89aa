package models_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"

	"example.com/owner/sluice/internal/model"
)

// mutants changes or removes one value of a document at a time, and calls try each time. It tries one
// of five other values at each place, in turn, since all at each take five times as long.
func mutants(document any, try func()) {
	values, turn := []any{true, 1, "", "text", []any{"string"}}, 0
	var mutate func(in any)
	each := func(value any, set func(any)) {
		set(values[turn%len(values)])
		turn++
		try()
		set(value)
		mutate(value)
	}
	mutate = func(in any) {
		switch in := in.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(in)) {
				value := in[name]
				delete(in, name)
				try()
				each(value, func(v any) { in[name] = v })
			}
		case []any:
			for i, value := range in {
				each(value, func(v any) { in[i] = v })
			}
		}
	}
	mutate(document)
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
			if tried < 15 {
				t.Errorf("only %d mutants", tried)
			}
		})
	}
}
