package main

import (
	"cmp"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Main and Run are the program, and what it does with everything from the
// outside as a parameter.
var (
	Main = main
	Run  = run
)

// Commands lists the names of all commands.
var Commands = commands

// Prose is a cell that wraps.
type Prose = prose

// PrintTable prints a table of one row.
func PrintTable(w io.Writer, environ map[string]string, headings []string, cells ...any) {
	t := (&console{environ: environ, stdout: w}).table(headings...)
	t.row(cells...)
	t.print()
}

// Span is span.
type Span = span

// Repeats are what send remembers of deduplication ids.
type Repeats struct{ repeats }

// Take is take.
func (r *Repeats) Take(id string, now time.Time) bool { return r.take(id, now) }

// Known is how many ids are kept in memory.
func (r *Repeats) Known() int { return len(r.taken) }

// CommandGrammar is what a command takes.
type CommandGrammar struct {
	Name       string
	Positional int
	File       bool // the last positional argument is a file
	Flags      []FlagGrammar
}

// FlagGrammar is a flag of a command.
type FlagGrammar struct {
	Name string
	File bool
}

// Grammar lists the commands with their arguments.
func Grammar() (all []CommandGrammar) {
	for f := range reflect.TypeFor[cli]().Fields() {
		if _, ok := f.Tag.Lookup("cmd"); !ok {
			continue
		}
		c := CommandGrammar{Name: strings.ToLower(f.Name)}
		for a := range f.Type.Fields() {
			file := a.Tag.Get("completion-predictor") == "file"
			if _, ok := a.Tag.Lookup("arg"); ok {
				c.Positional, c.File = c.Positional+1, file
			} else if a.IsExported() {
				c.Flags = append(c.Flags, FlagGrammar{cmp.Or(a.Tag.Get("name"), flagName(a.Name)), file})
			}
		}
		all = append(all, c)
	}
	return all
}

// flagName is how kong names the flag of a field.
func flagName(field string) string {
	return strings.Trim(strings.ToLower(regexp.MustCompile(`[A-Z]+`).ReplaceAllStringFunc(field, func(s string) string { return "-" + s })), "-")
}

// results are what commands print as JSON.
var results = map[string][]reflect.Type{
	"check":             {reflect.TypeFor[checked]()},
	"consume":           {reflect.TypeFor[consumed]()},
	"explain":           {reflect.TypeFor[explanation](), reflect.TypeFor[problem]()},
	"explain --summary": {reflect.TypeFor[summary](), reflect.TypeFor[summaries]()},
	"health":            {reflect.TypeFor[healthState]()},
	"invoke":            {reflect.TypeFor[invokeError]()},
	"mask":              {reflect.TypeFor[masksOf]()},
	"migrate":           {reflect.TypeFor[migratedTables]()},
	"peek":              {reflect.TypeFor[peeked]()},
	"redrive":           {reflect.TypeFor[redriven]()},
	"schema":            {reflect.TypeFor[schemaTables]()},
	"send":              {reflect.TypeFor[sendSummary]()},
	"version":           {reflect.TypeFor[versionInfo]()},
}

// JSONMembers lists the names of the members of a command's JSON, at any depth.
func JSONMembers(command string) (names []string) {
	seen := map[reflect.Type]bool{}
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || seen[t] || t == reflect.TypeFor[time.Time]() {
			return
		}
		seen[t] = true
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" || !f.IsExported() {
				continue
			}
			if name != "" {
				names = append(names, name)
			}
			add(f.Type)
		}
	}
	for _, t := range results[command] {
		add(t)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
