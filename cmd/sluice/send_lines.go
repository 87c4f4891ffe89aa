package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

const (
	maxLineBytes = 1 << 20 // SQS's limit of a message
	// endlessBytes is where a line that is too long to be sent is no longer
	// looked for the end of: what comes is no file of lines.
	endlessBytes = 16 << 20
)

var (
	errTooLong    = fmt.Errorf("a line is longer than the %d bytes that SQS takes", maxLineBytes)
	errEndless    = fmt.Errorf("the line has no end within %d bytes: this is no text with a body on each line", endlessBytes)
	errCharacters = errors.New("a line is not valid UTF-8, or has characters that SQS does not take")
)

// input is a file of lines, or standard input.
type input struct {
	*bufio.Reader
	zipped bool
	close  func()
}

// input opens a file of lines, and looks whether it is compressed: with a FIFO
// both wait for who writes to it.
func (con *console) input(path string) (*input, error) {
	in := &input{close: func() {}}
	from, name := con.stdin, "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		from, name, in.close = f, path, func() { _ = f.Close() } // it was only read
	}
	if f, ok := from.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.IsDir() {
			in.close()
			return nil, fmt.Errorf("%s is a directory", name)
		}
	}
	in.Reader = bufio.NewReaderSize(from, 64<<10)
	if magic, _ := in.Peek(2); string(magic) == "\x1f\x8b" { // an error comes again with the first line
		unzipped, err := gzip.NewReader(in.Reader)
		if err != nil {
			in.close()
			return nil, fmt.Errorf("%s: %w", name, zipProblem(err))
		}
		in.Reader, in.zipped = bufio.NewReaderSize(unzipped, 64<<10), true
	}
	return in, nil
}

// line is one line of an input, or why there is none.
type line struct {
	text []byte
	err  error
}

// lines reads one line after another, to the first error but errTooLong, or
// until nobody wants more. Only who reads waits for a slow input.
func (in *input) lines(ctx context.Context) <-chan line {
	out := make(chan line)
	go func() {
		for {
			text, err := in.line()
			select {
			case out <- line{text, err}:
			case <-ctx.Done():
				return
			}
			if err != nil && !errors.Is(err, errTooLong) {
				return
			}
		}
	}()
	return out
}

// line reads a line without its end; io.EOF when there is none.
func (in *input) line() (text []byte, err error) {
	size := 0
	for {
		part, err := in.ReadSlice('\n')
		size += len(part)
		long := size > maxLineBytes+2
		if !long {
			text = append(text, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && size > endlessBytes:
			return nil, errEndless
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || size == 0):
			return nil, err
		case long:
			return nil, errTooLong
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r")), nil
	}
}

// problem says why the line with a number could not be read.
func (in *input) problem(number int, err error) error {
	if in.zipped && !errors.Is(err, errEndless) {
		return zipProblem(err)
	}
	return fmt.Errorf("line %d: %w", number, err)
}

func zipProblem(err error) error {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return errors.New("the gzip file is cut off")
	case corrupt || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum):
		return errors.New("the gzip file is damaged")
	default:
		return err
	}
}

// takes says whether SQS takes a body: "#x9 | #xA | #xD | #x20 to #xD7FF |
// #xE000 to #xFFFD | #x10000 to #x10FFFF" (SendMessage, SQS API Reference).
func takes(body []byte) bool {
	return utf8.Valid(body) && !bytes.ContainsFunc(body, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\uFFFE' || r == '\uFFFF'
	})
}
