package main

import (
	"io"
	"os"
	"strconv"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows on a terminal how far a command is, and nothing elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

func (con *console) progress(doing string) *progress {
	return &progress{con.bar(doing, -1, progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetVisibility(con.animates()))}
}

// bar draws when it is told to only: the library's own goroutine for bars without an end races with
// that.
func (con *console) bar(doing string, of int64, more ...progressbar.Option) *progressbar.ProgressBar {
	return progressbar.NewOptions64(of, append(more,
		progressbar.OptionSetWriter(con.stderr), progressbar.OptionSetDescription(doing),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth(),
		progressbar.OptionSetSpinnerChangeInterval(0))...)
}

// set shows how many are done, of how many; 0 when the total is unknown.
func (p *progress) set(done, of int) {
	if of > 0 && p.bar.GetMax() != max(of, done) {
		p.bar.ChangeMax(max(of, done))
	}
	_ = p.bar.Set(done) // the terminal may be gone
}

func (p *progress) end() { _ = p.bar.Finish() } // as above

func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width returns how many columns standard output has, and 0 if nothing limits it: COLUMNS, else the
// terminal's.
func (con *console) width() int {
	if columns, err := strconv.Atoi(con.environ["COLUMNS"]); err == nil && columns > 0 {
		return columns
	}
	f, ok := con.stdout.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil { // it is no terminal
		return 0
	}
	return columns
}

// animates reports whether a bar can be redrawn: standard error is a terminal
// that can return to the start of a line.
func (con *console) animates() bool { return terminal(con.stderr) && con.environ["TERM"] != "dumb" }

// styled returns a text for w in a style, where styles can be seen and are wanted.
func (con *console) styled(w io.Writer, style, text string) string {
	if !terminal(w) || con.environ["TERM"] == "dumb" || con.environ["NO_COLOR"] != "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// The styles, as numbers of ANSI.
const (
	bold    = "1"
	boldRed = "1;31"
)
