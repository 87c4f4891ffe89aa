package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/go-json-experiment/json"
)

// output is standard output. Commands print without checking errors; run checks
// once, at the end.
type output struct {
	w io.Writer
	// err is why a write failed. Nothing is written after it, because a text with
	// a gap could pass for a complete one.
	err error
}

// Write implements io.Writer.
func (o *output) Write(text []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(text)
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err // "write /dev/stdout" helps nobody
	}
	o.err = err
	return n, err
}

// printJSON prints a result for scripts and then returns err.
func (con *console) printJSON(v any, err error) error {
	text, jsonErr := json.Marshal(v, json.Deterministic(true))
	if jsonErr != nil {
		return jsonErr
	}
	fmt.Fprintf(con.stdout, "%s\n", text)
	return err
}
