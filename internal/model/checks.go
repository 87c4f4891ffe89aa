package model

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/unicode/norm"

	"example.com/owner/sluice/internal/message"
)

// Options say how a value is converted, normalised and checked.
type Options struct {
	acceptString, acceptNumber bool
	// exact: equal values must be equal keys and equal masks, and different ones different. A number
	// that is accepted as a text must be written in the one way that its value has, and a time must not
	// be finer than its column.
	exact  bool
	format string
	unix   *unixFormat
	zone   *time.Location

	normalizes    bool
	normalization normalization

	checked              bool
	oneOf                oneOfCheck
	pattern              *regexp.Regexp
	min, max             limit
	minLength, maxLength int // in characters; 0 is no limit
	wanted               wanted
}

// oneOfCheck lists the values that a field may have: texts or numbers.
type oneOfCheck struct {
	texts   map[string]bool
	numbers []decimal
}

// OneOf lists the texts that the field may have, nil if it may have any.
func (f *Field) OneOf() []string { return slices.Sorted(maps.Keys(f.oneOf.texts)) }

// limit is the least or the greatest value.
type limit struct {
	set    bool
	number decimal
	n      int64 // for types with a bound
}

// wanted are the expectations of the checks, in words of the model.
type wanted struct{ oneOf, pattern, limits, length string }

// describe lists the options in a few words each, in the order in which they are applied.
func (f *Field) describe() (all []string) {
	add := func(is bool, words string) {
		if is {
			all = append(all, words)
		}
	}
	add(f.format != "", f.format)
	add(f.zone != nil, "in "+f.zone.String())
	add(f.acceptString, "accepts strings")
	add(f.acceptNumber, "accepts numbers")
	n := &f.normalization
	add(n.trim, "trimmed")
	add(n.words != "", n.words)
	add(n.strip != "", "without "+strconv.Quote(n.strip))
	add(n.composes, map[norm.Form]string{norm.NFC: "nfc", norm.NFKC: "nfkc"}[n.form])
	add(n.idna, "idna")
	for _, check := range []string{f.wanted.length, f.wanted.oneOf, f.wanted.pattern, f.wanted.limits} {
		add(check != "", strings.TrimPrefix(check, "expected "))
	}
	return all
}

// reads returns the form of JSON that the field reads.
func (f *Field) reads() form {
	if f.unix != nil {
		return numberForm
	}
	return f.how.reads
}

// expects describes what JSON the field reads.
func (f *Field) expects() string {
	switch reads := f.reads(); {
	case f.acceptString:
		return reads.String() + " or a string"
	case f.acceptNumber && reads == stringForm:
		return "a string or a number"
	default:
		return reads.String()
	}
}

// Normal returns what the field's options make of a text: of a string in a body, or of a value that
// somebody typed for a look-up.
func (f *Field) Normal(text []byte) []byte {
	if f.normalizes {
		text = bytes.Clone((&target{f: f}).normalize(text))
	}
	return text
}

// maxMatched bounds the text that a pattern is matched with, in bytes: matching takes time in
// proportion to the text and to the pattern.
const maxMatched = 64 * 1024

// check checks a value before its type does.
func (t *target) check(text []byte) message.Reason {
	f := t.f
	if f.minLength > 0 || f.maxLength > 0 {
		n := len(text)
		if f.maxLength > 0 && n > f.maxLength || n < utf8.UTFMax*f.minLength { // otherwise the bytes decide
			n = utf8.RuneCount(text)
		}
		t.detail = f.wanted.length
		switch {
		case n < f.minLength:
			return message.ReasonTooShort
		case f.maxLength > 0 && n > f.maxLength:
			return message.ReasonTooLong
		}
	}
	if f.oneOf.texts != nil && !f.oneOf.texts[string(text)] || f.oneOf.numbers != nil && !f.oneOf.has(text) {
		t.detail = f.wanted.oneOf
		return message.ReasonNotOneOf
	}
	if f.pattern != nil {
		if len(text) > maxMatched {
			t.detail = "expected at most 65,536 bytes, which a pattern can be matched with"
			return message.ReasonTooLong
		}
		if !f.pattern.Match(text) {
			t.detail = f.wanted.pattern
			return message.ReasonNoMatch
		}
	}
	if f.how.bound == nil && (f.min.set || f.max.set) {
		n := parseDecimal(text)
		if f.min.set && n.compare(f.min.number) < 0 || f.max.set && n.compare(f.max.number) > 0 {
			t.detail = f.wanted.limits
			return message.ReasonOutOfRange
		}
	}
	t.detail = ""
	return ""
}

func (o oneOfCheck) has(number []byte) bool {
	n := parseDecimal(number)
	return slices.ContainsFunc(o.numbers, func(known decimal) bool { return known.compare(n) == 0 })
}

// inRange checks a date or time, as its type counts it.
func (t *target) inRange(n int64) message.Reason {
	if t.f.min.set && n < t.f.min.n || t.f.max.set && n > t.f.max.n {
		t.detail = t.f.wanted.limits
		return message.ReasonOutOfRange
	}
	return ""
}

// checkOptions checks the options of a field, and sets them.
func (c *compiler) checkOptions(f *Field, e entry[fieldSpec]) {
	spec := e.spec
	bad := func(line int, format string, args ...any) {
		c.problem(line, "field "+f.Name+": "+format, args...)
	}
	c.checkFormat(f, e, bad)
	for i, a := range spec.Accept {
		switch {
		case !slices.Contains(f.how.accepts, a.text):
			bad(a.line, "accept: %s takes %s; accept can add %s", f.Type, f.reads(), enumerate(f.how.accepts, "and"))
		case slices.Contains(spec.Accept[:i], a):
			bad(a.line, "accept names %s twice", a.text)
		}
		f.acceptString = f.acceptString || a.text == "string"
		f.acceptNumber = f.acceptNumber || a.text == "number"
	}
	f.exact = f.Personal
	if f.Personal && spec.Default.json != nil {
		bad(spec.Default.line, "default: a personal field has none; its mask would look like a person; remove it")
	}
	c.checkNormalization(f, e, bad)
	c.checkOneOf(f, e, bad)
	c.checkPattern(f, e, bad)
	c.checkLimits(f, e, bad)
	c.checkLengths(f, e, bad)
	f.checked = f.oneOf.texts != nil || f.oneOf.numbers != nil || f.pattern != nil || f.min.set || f.max.set || f.minLength > 0 || f.maxLength > 0
}

type reporter func(line int, format string, args ...any)

func (c *compiler) checkFormat(f *Field, e entry[fieldSpec], bad reporter) {
	spec := e.spec
	if spec.Format.line > 0 {
		if f.format = spec.Format.text; !slices.Contains(f.how.formats, f.format) {
			bad(spec.Format.line, "format: %q is not one of %s; use %s", f.format, f.Type, enumerate(f.how.formats, "or"))
		}
		for i := range unixFormats {
			if unixFormats[i].name == f.format {
				f.unix = &unixFormats[i]
			}
		}
	}
	if f.Type == TypeTimestamp && len(spec.Accept) > 0 && f.unix == nil {
		bad(spec.Accept[0].line, "accept: a timestamp without a format of unix is a string anyway; remove accept, or add a format, as in format: unix")
	}
	if spec.Zone.line == 0 {
		return
	}
	if f.format != formatISO8601 {
		bad(spec.Zone.line, "zone is for format: iso8601; other times have a zone, or are in UTC")
	}
	var err error
	if f.zone, err = time.LoadLocation(spec.Zone.text); err != nil || spec.Zone.text == "Local" {
		bad(spec.Zone.line, "zone: %q is not the name of a time zone; write one such as Europe/Berlin or UTC", spec.Zone.text)
	}
}

// maxStrip bounds the characters of strip.
const maxStrip = 64

// inDomain are the characters of a domain in ASCII, that strip must not take from what idna wrote.
const inDomain = wordCharacters + "-"

func (c *compiler) checkNormalization(f *Field, e entry[fieldSpec], bad reporter) {
	spec, n := e.spec, &f.normalization
	n.trim, n.strip = spec.Trim, spec.Strip.text
	if spec.Case.line > 0 {
		n.letter, n.words = unicode.ToLower, "lower case"
		if c.choice("field "+f.Name+": case", spec.Case, "lower", "upper") == "upper" {
			n.letter, n.words = unicode.ToUpper, "upper case"
		}
	}
	if spec.Strip.line > 0 && (utf8.RuneCountInString(n.strip) > maxStrip || !utf8.ValidString(n.strip)) {
		bad(spec.Strip.line, "strip: write 1 to %d characters to remove, as in strip: \" -\"", maxStrip)
	}
	if spec.Unicode.line > 0 {
		n.composes = true
		if c.choice("field "+f.Name+": unicode", spec.Unicode, "nfc", "nfkc") == "nfkc" {
			n.form = norm.NFKC // the zero value is NFC
		}
	}
	if n.idna = spec.IDNA; n.idna && (spec.Case.text == "upper" || strings.ContainsAny(n.strip, inDomain)) {
		bad(e.has("idna"), "idna writes an address in lower case, and its domain with ASCII letters, digits and -; remove case: upper, and these characters and _ from strip")
	}
	f.normalizes = n.trim || n.letter != nil || n.strip != "" || n.composes || n.idna
	if f.normalizes && f.reads() != stringForm && !f.acceptString {
		line := 0
		for _, name := range normalizing {
			line = cmp.Or(line, e.has(name))
		}
		bad(line, "trim, case, strip and unicode are for strings, and the field reads %s; add accept: [string], or remove them", f.reads())
	}
}

// maxChoices bounds one_of.
const maxChoices = 1000

func (c *compiler) checkOneOf(f *Field, e entry[fieldSpec], bad reporter) {
	line := e.has("one_of")
	if line == 0 {
		return
	}
	list := e.spec.OneOf
	if len(list) == 0 || len(list) > maxChoices {
		bad(line, "one_of lists 1 to %d values, as in one_of: [\"new\", \"paid\"]", maxChoices)
	}
	f.oneOf.texts = map[string]bool{}
	var shown []string
	for _, l := range list {
		if l.json == nil { // reported
			continue
		}
		shown = append(shown, string(l.json))
		if formOf(l.json) != f.how.reads {
			bad(l.line, "one_of: %s must be %s, as in one_of: %s", l.json, f.how.reads, map[form]string{stringForm: `["new", "paid"]`, numberForm: "[1, 2]"}[f.how.reads])
			continue
		}
		if f.how.reads == numberForm {
			n := parseDecimal(l.json)
			if f.oneOf.has(l.json) {
				bad(l.line, "one_of names %s twice", l.json)
			}
			f.oneOf.numbers = append(f.oneOf.numbers, n)
			continue
		}
		text, _ := jsontext.AppendUnquote(nil, l.json) // the loader has quoted it
		switch normal := f.Normal(text); {
		case f.oneOf.texts[string(text)]:
			bad(l.line, "one_of names %s twice", l.json)
		case f.normalizes && !bytes.Equal(normal, text):
			bad(l.line, "one_of: no value is %s, because trim, case, strip, unicode or idna change it; write %q", l.json, normal)
		}
		f.oneOf.texts[string(text)] = true
	}
	if f.how.reads == numberForm {
		f.oneOf.texts = nil
	}
	f.wanted.oneOf = "expected one of " + someOf(shown)
}

// someOf joins values, as many as people read.
func someOf(values []string) string {
	const most, width = 10, 200
	text := ""
	for i, v := range values {
		if i == most || len(text)+len(v) > width && i > 0 {
			return fmt.Sprintf("%s or %d more", text, len(values)-i)
		}
		if i > 0 {
			text += ", "
		}
		text += shorten(v, width)
	}
	return text
}

// shorten returns at most n bytes of a text.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}

// What bounds a pattern: its length in bytes, and the size of the program that it becomes.
const (
	maxPattern = 1000
	maxProgram = 1000
)

func (c *compiler) checkPattern(f *Field, e entry[fieldSpec], bad reporter) {
	text, line := e.spec.Pattern.text, e.spec.Pattern.line
	if line == 0 {
		return
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		bad(line, "pattern: %v; see github.com/google/re2/wiki/Syntax", err)
		return
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil || len(text) > maxPattern || len(program.Inst) > maxProgram {
		bad(line, "pattern is too large; it may have %d characters and no more repetitions than make %[1]d steps of a program: shorten it", maxPattern)
		return
	}
	if f.pattern, err = regexp.Compile(`\A(?:` + text + `)\z`); err != nil {
		bad(line, "pattern: %v", err)
	}
	f.wanted.pattern = "expected a match for the pattern " + shorten(text, 200)
}

func (c *compiler) checkLimits(f *Field, e entry[fieldSpec], bad reporter) {
	least, ok1 := c.limit(f, "min", e.spec.Min, bad)
	greatest, ok2 := c.limit(f, "max", e.spec.Max, bad)
	if !ok1 || !ok2 {
		return
	}
	f.min, f.max = least, greatest
	if least.set && greatest.set && (least.n > greatest.n || least.number.compare(greatest.number) > 0) {
		bad(e.spec.Max.line, "max is less than min, so no value is between them")
	}
	switch show := func(l literal) string { return strings.Trim(string(l.json), `"`) }; {
	case least.set && greatest.set:
		f.wanted.limits = "expected at least " + show(e.spec.Min) + " and at most " + show(e.spec.Max)
	case least.set:
		f.wanted.limits = "expected at least " + show(e.spec.Min)
	case greatest.set:
		f.wanted.limits = "expected at most " + show(e.spec.Max)
	}
}

// limit reads a min or max.
func (c *compiler) limit(f *Field, name string, l literal, bad reporter) (out limit, ok bool) {
	if l.json == nil {
		return out, true
	}
	out.set = true
	if f.how.bound == nil {
		if ok = formOf(l.json) == numberForm && parseDecimal(l.json).bounded(); !ok {
			bad(l.line, "%s must be a number, as in %[1]s: 100", name)
		} else {
			out.number = parseDecimal(l.json)
		}
		return out, ok
	}
	example := map[FieldType]string{TypeTimestamp: "2020-01-01T00:00:00Z", TypeDate: "2020-01-01", TypeTime: "08:30:00"}[f.Type]
	if formOf(l.json) == stringForm {
		text, _ := jsontext.AppendUnquote(nil, l.json) // the loader has quoted it
		out.n, ok = f.how.bound(text)
	}
	if !ok {
		bad(l.line, "%s must be a %s in quotes, as in %[1]s: %[3]q", name, f.Type, example)
	}
	return out, ok
}

// maxCharacters is the greatest length that a column can have.
const maxCharacters = 10_485_760

func (c *compiler) checkLengths(f *Field, e entry[fieldSpec], bad reporter) {
	if e.spec.MinLength.json != nil {
		f.minLength = c.number("field "+f.Name+": min_length", e.spec.MinLength, 1, maxCharacters)
	}
	if e.spec.MaxLength.json != nil {
		f.maxLength = c.number("field "+f.Name+": max_length", e.spec.MaxLength, 1, maxCharacters)
	}
	least, most := strconv.Itoa(f.minLength), strconv.Itoa(f.maxLength)
	switch {
	case f.minLength > 0 && f.maxLength > 0:
		if f.minLength > f.maxLength {
			bad(e.spec.MaxLength.line, "max_length is less than min_length, so no value is between them")
		}
		f.wanted.length = "expected " + least + " to " + most + " characters"
	case f.minLength > 0:
		f.wanted.length = "expected at least " + least + " characters"
	case f.maxLength > 0:
		f.wanted.length = "expected at most " + most + " characters"
	}
}
