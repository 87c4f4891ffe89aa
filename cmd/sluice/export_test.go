package main

import (
	"io"
	"reflect"
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
func Commands() (names []string) {
	for f := range reflect.TypeFor[cli]().Fields() {
		if _, ok := f.Tag.Lookup("cmd"); ok {
			names = append(names, strings.ToLower(f.Name))
		}
	}
	return names
}

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
