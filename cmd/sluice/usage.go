package main

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
	"github.com/posener/complete"
)

type helpCmd struct {
	Command string `arg:"" optional:"" completion-predictor:"command" help:"The command; default: all of them."`
}

// Run implements the command.
func (c *helpCmd) Run(parser *kong.Kong) error {
	args := []string{"--help"}
	if c.Command != "" {
		args = []string{c.Command, "--help"}
	}
	_, err := parser.Parse(args)
	if c.Command != "" && !slices.Contains(commands(), c.Command) {
		return usageError(usageProblem(err, []string{"help", c.Command}))
	}
	return nil // the help is printed, and what else is missing does not count
}

// usageError is how a command is called wrongly, if only the command sees that.
type usageError string

func (e usageError) Error() string { return string(e) }

// commands lists the names of all commands.
func commands() (names []string) {
	for f := range reflect.TypeFor[cli]().Fields() {
		if _, ok := f.Tag.Lookup("cmd"); ok {
			names = append(names, strings.ToLower(f.Name))
		}
	}
	return names
}

// completes prints what can follow in a command line, if a shell asks for that.
func completes(parser *kong.Kong, environ map[string]string) bool {
	if environ["COMP_LINE"] == "" {
		return false
	}
	kongcompletion.Register(parser,
		kongcompletion.WithPredictor("file", complete.PredictFiles("*")),
		kongcompletion.WithPredictor("command", complete.PredictSet(commands()...)),
		kongcompletion.WithPredictor("reason", complete.PredictSet(reasonWords()...)),
	)
	return true
}

// flagLike matches what only a flag is.
var flagLike = regexp.MustCompile(`^(-[a-z]|--[a-z][a-z-]+)$`)

// usageProblem says how a command is called wrongly, and which help to read. It does not quote
// arguments, as kong's errors do: they may be personal, or hold a password.
func usageProblem(err error, args []string) string {
	var command *kong.Node
	var parser *kong.Kong
	if failed, ok := errors.AsType[*kong.ParseError](err); ok {
		parser = failed.Context.Kong
		for _, p := range failed.Context.Path {
			if p.Command != nil {
				command = p.Command
			}
		}
	}
	help, names := "`sluice --help` shows how", commands()
	if command != nil {
		help = "`sluice " + command.Name + " --help` shows how"
		names = nil
		for _, group := range command.AllFlags(false) {
			for _, f := range group {
				names = append(names, "--"+f.Name)
			}
		}
	} else if parser != nil {
		for _, f := range parser.Model.Flags {
			names = append(names, "--"+f.Name)
		}
	}
	text := err.Error()
	if command != nil {
		text = strings.TrimPrefix(text, command.Name+": ")
	}
	var what string
	if rest, ok := strings.CutPrefix(text, "unexpected argument "); ok {
		n := argument(args, rest)
		switch {
		case command == nil:
			what = fmt.Sprintf("argument %d is not a command", n) + meant(rest, names)
		case command.Name == "mask":
			what = "mask takes the value from standard input, not as an argument"
		default:
			what = fmt.Sprintf("argument %d is one too many: %s takes %s", n, command.Name, []string{"none", "one"}[min(len(command.Positional), 1)])
			if command.Name == "invoke" {
				what += "; -e names the file with the event"
			}
		}
	} else if rest, ok := strings.CutPrefix(text, "unknown flag "); ok {
		n := argument(args, rest)
		what = fmt.Sprintf("argument %d is an unknown flag", n)
		if name, _, _ := strings.Cut(args[max(0, n-1)], "="); flagLike.MatchString(name) {
			what = "unknown flag " + name
		}
		what += meant(rest, names)
	} else {
		what = unquoted(text, args)
	}
	if strings.HasSuffix(what, "?") {
		return what + " " + help
	}
	return what + "; " + help
}

// argument returns the number of the last argument that an error begins with, or that begins with
// what it has up to a comma, as of --flag=value it has the flag.
func argument(args []string, rest string) (n int) {
	name, _, _ := strings.Cut(rest, ", did you mean ")
	for i, a := range args {
		if a == name || strings.HasPrefix(a, name) && strings.HasPrefix(a, "-") {
			n = i + 1
		}
	}
	return n
}

// meant returns which names kong suggests, "" for none: of its text only names of our own.
func meant(text string, names []string) string {
	i := strings.LastIndex(text, ", did you mean ")
	if i < 0 {
		return ""
	}
	var near []string
	for _, name := range names {
		if strings.Contains(text[i:], fmt.Sprintf("%q", name)) {
			near = append(near, name)
		}
	}
	if near == nil {
		return ""
	}
	return "; did you mean " + strings.Join(near, " or ") + "?"
}

// missingArgument matches kong's error for an argument that is not there.
var missingArgument = regexp.MustCompile(`^expected "(<[a-z-]+>)"$`)

// plainer has words of kong, and what people say.
var plainer = strings.NewReplacer(
	"expected a valid 64 bit int", "expected a whole number",
	"expected a valid 64 bit uint", "expected a whole number of 0 or more",
	`expected "<key>=<value>"`, "expected NAME=VALUE",
	"expected duration", "expected a duration, as in 90s or 2h",
	"expected string value", "expected a value",
	"expected int value", "expected a whole number",
)

// unquoted returns an error without what it quotes of the arguments.
func unquoted(text string, args []string) string {
	if strings.HasPrefix(text, "unexpected flag argument ") || strings.HasPrefix(text, "unexpected token ") {
		return "a flag that takes no value has one"
	}
	if missing := missingArgument.FindStringSubmatch(text); missing != nil {
		return missing[1] + " is missing"
	}
	if strings.Contains(text, " must be one of ") { // what is before the value is our own
		text, _, _ = strings.Cut(text, " but got ")
		return text
	}
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			_, a, _ = strings.Cut(a, "=")
		}
		for _, value := range append([]string{a}, strings.Split(a, ",")...) {
			text = strings.ReplaceAll(text, fmt.Sprintf("%q", value), "the value")
		}
	}
	text, _, _ = strings.Cut(text, " but got ")
	return plainer.Replace(text)
}
