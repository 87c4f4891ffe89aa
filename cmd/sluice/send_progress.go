package main

import (
	"net/url"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows on a terminal how far a command is, and nothing elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

func (con *console) progress(doing string) *progress {
	if !con.animates() {
		return &progress{}
	}
	return &progress{progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(con.stderr), progressbar.OptionSetDescription(doing), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth(),
	)}
}

// set says how many are done, of how many; 0 when nobody knows.
func (p *progress) set(done, of int) {
	if p.bar == nil {
		return
	}
	if of > 0 && p.bar.GetMax() != max(of, done) {
		p.bar.ChangeMax(max(of, done))
	}
	_ = p.bar.Set(done) // a terminal that is gone
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish() // as above
	}
}

func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// animates says whether a bar can be drawn over and over: on a terminal that
// can go back to the start of a line.
func (con *console) animates() bool { return terminal(con.stderr) && con.environ["TERM"] != "dumb" }

// red is a text in red, where colours can be seen and are wanted.
func (con *console) red(text string) string {
	if !con.animates() || con.environ["NO_COLOR"] != "" {
		return text
	}
	return "\x1b[1;31m" + text + "\x1b[0m"
}

// shownURL is a queue's URL without what a URL can hide.
func shownURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}
