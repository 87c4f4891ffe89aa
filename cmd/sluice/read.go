package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// errStopped ends a command that a signal has ended.
var errStopped = errors.New("stopped")

// read reads a file, or standard input for "-". Opening and reading may wait for
// ever, as with a FIFO, and cannot be cancelled: when ctx ends first, they are left
// to run until the process ends.
func (con *console) read(ctx context.Context, path string) ([]byte, error) {
	if err := fileName(path); err != nil {
		return nil, err
	}
	var text []byte
	done := make(chan error, 1)
	go func() {
		var err error
		if path == "-" || path == "" {
			con.awaitInput()
			text, err = io.ReadAll(con.stdin)
		} else {
			text, err = os.ReadFile(path)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return text, err
	case <-ctx.Done():
		return nil, errStopped
	}
}

// awaitInput says that standard input is read, to somebody who would wait for the command.
func (con *console) awaitInput() {
	if terminal(con.stdin) {
		fmt.Fprintln(con.stderr, "sluice: reading standard input; Ctrl-D ends it")
	}
}

// fileName returns an error if a path is the text of a body, or a URL, which may have a password. The
// error does not quote it.
func fileName(path string) error {
	if strings.Contains(path, "://") {
		return errors.New("the argument is the name of a file, and looks like a URL; the URL of a queue goes into SQS_URL, or after --to")
	}
	if content := strings.TrimLeft(path, "\ufeff \t\r\n"); content != "" && strings.ContainsRune(`{["`, rune(content[0])) {
		return errors.New("the argument is the name of a file, and looks like JSON; give that on standard input")
	}
	return nil
}
