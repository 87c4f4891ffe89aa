package model

import (
	"bytes"
	"cmp"
	"math"
	"strconv"
	"time"
	_ "time/tzdata" // Lambda's image and many others have no time zones

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

// appendTimestamp appends a time in the field's format.
func appendTimestamp(t *target, text []byte) message.Reason {
	var at time.Time
	var micros int64
	var whole, ok bool
	switch o := &t.f.Options; {
	case o.unix != nil:
		micros, whole, ok = parseDecimal(text).integer(o.unix.shift)
		t.detail = o.unix.expected
	case o.format == formatISO8601:
		at, t.detail = iso8601(text, o.zone)
		micros, ok = at.UnixMicro(), t.detail == ""
		whole = !finer(text)
	default:
		t.detail = "expected a time with a zone, such as 2026-01-31T12:00:00Z, in the years 1 to 9999"
		at, ok = timestamp(text)
		micros = at.UnixMicro() // Postgres keeps microseconds
		whole = !finer(text)
	}
	if !ok || micros < firstMicros || micros > lastMicros {
		t.detail = cmp.Or(t.detail, notISO8601)
		return message.ReasonNotTimestamp
	}
	if t.f.exact && !whole {
		t.detail = tooFine
		return message.ReasonNotTimestamp
	}
	if reason := t.inRange(micros); reason != "" {
		return reason
	}
	t.integer(batch.Timestamp, micros-batch.EpochMillis*1000)
	return ""
}

// tooFine is what is wrong with a time in a key that its column would cut: two messages would become
// one row.
const tooFine = "expected nothing finer than microseconds, because the column is in the key"

// finer reports whether a time or duration has a fraction that microseconds do not hold.
func finer(text []byte) bool {
	point := bytes.IndexAny(text, ".,")
	if point < 0 {
		return false
	}
	fraction := text[point+1:]
	fraction = fraction[:digits(fraction)]
	return len(fraction) > 6 && len(bytes.TrimRight(fraction[6:], "0")) > 0
}

// boundTimestamp reads a min or max: a time of RFC 3339, in microseconds.
func boundTimestamp(text []byte) (micros int64, ok bool) {
	at, ok := timestamp(text)
	return at.UnixMicro(), ok
}

// The first and the last microsecond of the years 1 to 9999 since 1970. All clients can read these
// years; Postgres accepts others.
var (
	firstMicros = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	lastMicros  = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() - 1
)

// unixFormat is a timestamp as a number since 1970.
type unixFormat struct {
	name     string
	shift    int // microseconds are the number × 10^shift
	expected string
}

var unixFormats = []unixFormat{
	{"unix", 6, "expected seconds since 1970, in the years 1 to 9999"},
	{"unix_ms", 3, "expected milliseconds since 1970, in the years 1 to 9999"},
	{"unix_us", 0, "expected microseconds since 1970, in the years 1 to 9999"},
	{"unix_ns", -3, "expected nanoseconds since 1970, in the years 1 to 9999"},
}

// The years in which a time is likely.
var (
	likelyFrom = float64(time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	likelyTo   = float64(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
)

// LikelierFormat returns the Unix format that a time of the field was more likely sent in: with it
// the time is in the years 1980 to 2099, and with the field's own it is not. "" is none.
func (f *Field) LikelierFormat(at time.Time) string {
	likely := func(shift int) bool {
		t := float64(at.UnixMicro()) * math.Pow10(shift-f.unix.shift)
		return likelyFrom <= t && t < likelyTo
	}
	if f.unix == nil || likely(f.unix.shift) {
		return ""
	}
	for _, other := range unixFormats {
		if likely(other.shift) {
			return other.name
		}
	}
	return ""
}

const (
	formatISO8601 = "iso8601"
	formatSimple  = "simple"
)

// timestamp reads an RFC 3339 time: T and Z may be lower case, and a leap second, at 23:59:60 UTC,
// is the second after it. time.Parse alone accepts neither of these, but does accept hours of one
// digit, a comma before the fraction, and zones beyond a day.
func timestamp(text []byte) (at time.Time, ok bool) {
	const seconds = len("2026-01-31T12:00:")
	if len(text) < len("2026-01-31T12:00:00Z") || text[13] != ':' || text[19] == ',' {
		return at, false
	}
	text = append(make([]byte, 0, 64), text...) // the body stays as it is
	if text[10] == 't' {
		text[10] = 'T'
	}
	switch zone := text[len(text)-len("+00:00"):]; {
	case zone[5] == 'z':
		zone[5] = 'Z'
	case zone[5] != 'Z' && (string(zone[1:3]) > "23" || string(zone[4:6]) > "59"):
		return at, false
	}
	leap := text[seconds] == '6' && text[seconds+1] == '0'
	if leap {
		text[seconds], text[seconds+1] = '5', '9'
	}
	at, err := time.Parse(time.RFC3339, string(text))
	at = at.UTC()
	if leap {
		if at.Hour() != 23 || at.Minute() != 59 {
			return at, false
		}
		at = at.Add(time.Second)
	}
	return at, err == nil
}

// notISO8601 is what a time of iso8601 must be.
const notISO8601 = "expected a time such as 2026-01-31 12:00:00 or 20260131T120000+0100, in the years 1 to 9999"

// iso8601 reads a time of ISO 8601: a calendar date and a time of day, each with or without its
// signs, with T, a space or, without signs, nothing between them, and after them a zone or none.
// wrong is what was expected, "" if there is nothing wrong. A time without a zone is one of the
// given zone; where the clocks go back or forward there it must be one that occurs exactly once.
func iso8601(text []byte, zone *time.Location) (at time.Time, wrong string) {
	s := scanner{text}
	year, month, day, basic, ok := s.date()
	separated := s.skip('T') || s.skip('t') || s.skip(' ')
	if !ok || !separated && !basic {
		return at, notISO8601
	}
	hour, minute, second, micros, ok := s.clock()
	if !ok {
		return at, notISO8601
	}
	leap := second == 60
	if leap {
		second = 59
	}
	local := time.Date(year, time.Month(month), day, hour, minute, second, micros*1000, time.UTC)
	if offset, found, ok := s.zone(); !ok {
		return at, notISO8601
	} else if found {
		at = local.Add(-offset)
	} else {
		if zone == nil {
			return at, "expected a time with a zone, or zone in the model, as in zone: Europe/Berlin"
		}
		if at, wrong = inZone(local, zone); wrong != "" {
			return at, wrong
		}
	}
	if leap {
		if at.Hour() != 23 || at.Minute() != 59 {
			return at, notISO8601
		}
		at = at.Add(time.Second)
	}
	return at, ""
}

// inZone returns the time at which the clocks of a zone show what local shows in UTC.
func inZone(local time.Time, zone *time.Location) (at time.Time, wrong string) {
	at = time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), zone)
	_, offset := at.Zone()
	if !at.Add(time.Duration(offset) * time.Second).Equal(local) {
		return at, "expected a time that occurs in " + zone.String() + ", where the clocks skip this one"
	}
	twice := false
	begin, end := at.ZoneBounds()
	if !begin.IsZero() {
		_, before := begin.Add(-time.Second).Zone()
		twice = local.Add(-time.Duration(before) * time.Second).Before(begin)
	}
	if !end.IsZero() {
		_, after := end.Zone()
		twice = twice || !local.Add(-time.Duration(after)*time.Second).Before(end)
	}
	if twice {
		return at, "expected a time that occurs once in " + zone.String() + ", where the clocks show this one twice"
	}
	return at.UTC(), ""
}

// scanner reads the parts of a time from the beginning of a text.
type scanner struct{ text []byte }

// skip reads one character.
func (s *scanner) skip(c byte) bool {
	if len(s.text) == 0 || s.text[0] != c {
		return false
	}
	s.text = s.text[1:]
	return true
}

// number reads exactly n digits.
func (s *scanner) number(n int) (value int, ok bool) {
	if digits(s.text) < n {
		return 0, false
	}
	for _, c := range s.text[:n] {
		value = 10*value + int(c-'0')
	}
	s.text = s.text[n:]
	return value, true
}

// pair reads two digits, which make at most most.
func (s *scanner) pair(most int) (value int, ok bool) {
	value, ok = s.number(2)
	return value, ok && value <= most
}

// date reads 2026-01-31 or, which is the basic form, 20260131.
func (s *scanner) date() (year, month, day int, basic, ok bool) {
	year, ok1 := s.number(4)
	basic = !s.skip('-')
	month, ok2 := s.pair(12)
	ok3 := basic || s.skip('-')
	day, ok4 := s.pair(31)
	// A day that the month lacks is one of the next month.
	if !ok1 || !ok2 || !ok3 || !ok4 || year < 1 || month < 1 || time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Day() != day {
		return 0, 0, 0, basic, false
	}
	return year, month, day, basic, true
}

// clock reads 12:34, 12:34:56, 12:34:56.789, or these without colons. Finer than microseconds is
// cut off. A second may be 60.
func (s *scanner) clock() (hour, minute, second, micros int, ok bool) {
	hour, ok1 := s.pair(23)
	colons := s.skip(':')
	minute, ok2 := s.pair(59)
	if !ok1 || !ok2 {
		return 0, 0, 0, 0, false
	}
	if colons && !s.skip(':') || !colons && digits(s.text) == 0 {
		return hour, minute, 0, 0, true
	}
	if second, ok = s.pair(60); !ok {
		return 0, 0, 0, 0, false
	}
	if s.skip('.') || s.skip(',') {
		micros, ok = s.fraction()
	}
	return hour, minute, second, micros, ok
}

// fraction reads the digits after a point, of which there must be one, as millionths.
func (s *scanner) fraction() (millionths int, ok bool) {
	n := digits(s.text)
	for i := range 6 {
		millionths *= 10
		if i < n {
			millionths += int(s.text[i] - '0')
		}
	}
	s.text = s.text[n:]
	return millionths, n > 0
}

// zone reads Z, +01:00, +0100, +01 or nothing, which ends the text. found is false for nothing.
func (s *scanner) zone() (offset time.Duration, found, ok bool) {
	if len(s.text) == 0 {
		return 0, false, true
	}
	if s.skip('Z') || s.skip('z') {
		return 0, true, len(s.text) == 0
	}
	west := false
	if !s.skip('+') {
		if west = s.skip('-'); !west {
			return 0, false, false
		}
	}
	hour, ok := s.pair(23)
	minute := 0
	if ok && len(s.text) > 0 {
		s.skip(':')
		minute, ok = s.pair(59)
	}
	offset = time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	if west {
		offset = -offset
	}
	return offset, true, ok && len(s.text) == 0
}

// appendDate appends a day in the form of RFC 3339 or, if the format is iso8601, its basic form.
func appendDate(t *target, text []byte) message.Reason {
	day, ok := date(text, t.f.format == formatISO8601)
	if !ok {
		return message.ReasonNotDate
	}
	if reason := t.inRange(day); reason != "" {
		return reason
	}
	t.integer(batch.Date, day)
	return ""
}

// boundDate reads a min or max.
func boundDate(text []byte) (day int64, ok bool) { return date(text, false) }

// date reads a day, and returns it as days since 2000.
func date(text []byte, basic bool) (day int64, ok bool) {
	s := scanner{text}
	y, m, d, isBasic, ok := s.date()
	if !ok || len(s.text) > 0 || isBasic && !basic {
		return 0, false
	}
	return int64(days(time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC).UnixMilli() - batch.EpochMillis)), true
}

// appendTime appends a time of day, without a zone.
func appendTime(t *target, text []byte) message.Reason {
	micros, ok := timeOfDay(text)
	if !ok {
		return message.ReasonNotTime
	}
	if t.f.exact && finer(text) {
		t.detail = tooFine
		return message.ReasonNotTime
	}
	if reason := t.inRange(micros); reason != "" {
		return reason
	}
	t.integer(batch.TimeOfDay, micros)
	return ""
}

// timeOfDay reads 12:34, 12:34:56 or 12:34:56.789, and returns it as microseconds.
func timeOfDay(text []byte) (micros int64, ok bool) {
	if len(text) < len("12:34") || text[2] != ':' || bytes.IndexByte(text, ',') >= 0 {
		return 0, false
	}
	s := scanner{text}
	hour, minute, second, fraction, ok := s.clock()
	if !ok || len(s.text) > 0 || second > 59 {
		return 0, false
	}
	return int64((hour*60+minute)*60+second)*1e6 + int64(fraction), true
}

// The limits of an interval, in each direction: 10,000 years, which Postgres can also add to a time.
const (
	maxMonths = 10_000 * 12
	maxDays   = 10_000 * 366
	maxSpan   = int64(maxDays) * 24 * 3600 * 1e6
)

// duration is an interval as Postgres keeps it: months differ in length, and days do where clocks
// change.
type duration struct{ months, days, micros int64 }

// durationParts are those of a duration in ISO 8601, in their order. Each is a number of months, days
// or microseconds.
var durationParts = []struct {
	letter               byte
	time                 bool // after the T
	months, days, micros int64
}{
	{'Y', false, 12, 0, 0},
	{'M', false, 1, 0, 0},
	{'W', false, 0, 7, 0},
	{'D', false, 0, 1, 0},
	{'H', true, 0, 0, 3600e6},
	{'M', true, 0, 0, 60e6},
	{'S', true, 0, 0, 1e6},
}

// appendInterval appends a duration of ISO 8601 in that form, which Postgres reads alike in all its
// settings.
func appendInterval(t *target, text []byte) message.Reason {
	d, ok := interval(text)
	switch {
	case !ok:
		t.detail = "expected a duration such as P1Y2M10DT2H30M or PT0.5S, with a fraction of seconds only"
		return message.ReasonNotInterval
	case t.f.exact && finer(text):
		t.detail = tooFine
		return message.ReasonNotInterval
	case max(d.months, -d.months) > maxMonths, max(d.days, -d.days) > maxDays, max(d.micros, -d.micros) > maxSpan:
		t.detail = "expected at most 10,000 years"
		return message.ReasonOutOfRange
	}
	t.scratch = d.append(t.scratch[:0])
	t.b.Bytes(t.scratch)
	return ""
}

// interval reads a duration of ISO 8601: its parts in their order, each at most once, with a fraction
// of seconds only, which is cut off after microseconds. A sign is before the P or, as some languages
// write it, before a number. A part of more than the limits is read as one that is too large.
func interval(text []byte) (d duration, ok bool) {
	s := scanner{text}
	negative := s.skip('-')
	if !s.skip('P') || len(s.text) == 0 {
		return d, false
	}
	inTime := false
	for next := 0; len(s.text) > 0; next++ {
		if !inTime && s.skip('T') {
			inTime = true
		}
		sign := int64(1)
		if s.skip('-') != negative {
			sign = -1
		}
		amount := int64(0)
		n := digits(s.text)
		for _, c := range s.text[:n] {
			amount = min(10*amount+int64(c-'0'), maxSpan)
		}
		s.text = s.text[n:]
		millionths, fractional := 0, s.skip('.') || s.skip(',')
		if fractional {
			if millionths, ok = s.fraction(); !ok {
				return d, false
			}
		}
		for next < len(durationParts) && (durationParts[next].time != inTime || len(s.text) == 0 || durationParts[next].letter != s.text[0]) {
			next++
		}
		if n == 0 || next == len(durationParts) || fractional && s.text[0] != 'S' {
			return d, false
		}
		s.text = s.text[1:]
		part := durationParts[next]
		d.months += sign * min(amount, maxMonths+1) * part.months
		d.days += sign * min(amount, maxDays+1) * part.days
		d.micros += sign * (min(amount, maxSpan/max(part.micros, 1)+1)*part.micros + int64(millionths))
	}
	return d, true
}

// append appends the duration in the form of ISO 8601.
func (d duration) append(dst []byte) []byte {
	if d == (duration{}) {
		return append(dst, "PT0S"...)
	}
	part := func(n int64, letter byte) {
		if n != 0 {
			dst = append(strconv.AppendInt(dst, n, 10), letter)
		}
	}
	dst = append(dst, 'P')
	part(d.months/12, 'Y')
	part(d.months%12, 'M')
	part(d.days, 'D')
	if d.micros == 0 {
		return dst
	}
	dst = append(dst, 'T')
	part(d.micros/3600e6, 'H')
	part(d.micros/60e6%60, 'M')
	second, millionths := d.micros/1e6%60, d.micros%1e6
	if millionths == 0 {
		part(second, 'S')
		return dst
	}
	if d.micros < 0 {
		dst, second, millionths = append(dst, '-'), -second, -millionths
	}
	dst = append(strconv.AppendInt(dst, second, 10), '.')
	for place := int64(1e5); millionths > 0; place /= 10 {
		dst = append(dst, '0'+byte(millionths/place)) //nolint:gosec // a digit
		millionths %= place
	}
	return append(dst, 'S')
}
