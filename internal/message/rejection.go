package message

import (
	"strconv"
	"strings"
)

// Reason is why a message can never be stored: one stable word, fit for a metric's dimension.
type Reason string

// The reasons. None of them has a value or a key of a body.
const (
	ReasonNoBody       Reason = "no_body"
	ReasonNoSentTime   Reason = "no_sent_time"
	ReasonNotJSON      Reason = "not_json"
	ReasonNotObject    Reason = "not_an_object"
	ReasonDuplicateKey Reason = "duplicate_key"
	ReasonNoModel      Reason = "no_model"
	ReasonNotWrapped   Reason = "not_wrapped"
	ReasonNotBase64    Reason = "not_base64"
	ReasonNotGzip      Reason = "not_gzip"
	ReasonNotZstd      Reason = "not_zstd"
	ReasonTooLarge     Reason = "too_large"
	ReasonKeyCase      Reason = "key_case"
	ReasonUnknown      Reason = "unknown_member"
	ReasonUnrecognized Reason = "unrecognized"
	ReasonMissing      Reason = "missing"
	ReasonWrongType    Reason = "wrong_type"
	ReasonNUL          Reason = "nul_character"
	ReasonTooShort     Reason = "too_short"
	ReasonTooLong      Reason = "too_long"
	ReasonTooMany      Reason = "too_many_elements"
	ReasonNotOneOf     Reason = "not_one_of"
	ReasonNoMatch      Reason = "no_match"
	ReasonTooDeep      Reason = "too_deep"
	ReasonNotIP        Reason = "not_an_ip_address"
	ReasonNotEmail     Reason = "not_an_email_address"
	ReasonNotVersion   Reason = "not_a_version"
	ReasonNotNumber    Reason = "not_a_number"
	ReasonNotInteger   Reason = "not_an_integer"
	ReasonNotBoolean   Reason = "not_a_boolean"
	ReasonNotTimestamp Reason = "not_a_timestamp"
	ReasonNotDate      Reason = "not_a_date"
	ReasonNotTime      Reason = "not_a_time"
	ReasonNotInterval  Reason = "not_an_interval"
	ReasonNotUUID      Reason = "not_a_uuid"
	ReasonOutOfRange   Reason = "out_of_range"
	ReasonNoRows       Reason = "no_rows"
	ReasonTooManyRows  Reason = "too_many_rows"
	ReasonRepeatedKey  Reason = "repeated_key"
	ReasonConflict     Reason = "conflict"
	ReasonRefused      Reason = "refused_by_database"
)

// reasons are all of them, in the order of the checks, each with what it means.
var reasons = []struct {
	reason  Reason
	meaning string
}{
	{ReasonNoBody, "the message has no body, or one that is not a valid string"},
	{ReasonNoSentTime, "SentTimestamp is absent, or not a time in milliseconds"},
	{ReasonNotJSON, "the body is not one valid JSON value in UTF-8"},
	{ReasonNotObject, "the body is JSON, but not an object"},
	{ReasonDuplicateKey, "the body has a name twice in one object"},
	{ReasonNoModel, "no model takes the message"},
	{ReasonNotWrapped, "what the model unwraps is absent, null or not a string"},
	{ReasonNotBase64, "what the model unwraps, or the field, is not base64 in the standard alphabet"},
	{ReasonNotGzip, "what the model unwraps is not gzip"},
	{ReasonNotZstd, "what the model unwraps is not zstd"},
	{ReasonTooLarge, "the body unwraps to more bytes than the model allows"},
	{ReasonKeyCase, "the body has a key that differs from this field in upper and lower case only"},
	{ReasonUnknown, "the body has a member that the model does not read, and the model says unknown: reject"},
	{ReasonUnrecognized, "the body has none of the members that the model reads"},
	{ReasonMissing, "the field is required, and is absent, null or blank"},
	{ReasonWrongType, "the field has another JSON type than the model says"},
	{ReasonNUL, "the field holds a NUL character"},
	{ReasonTooShort, "the field has fewer characters than the model says"},
	{ReasonTooLong, "the field has more characters than its column, or than the model says"},
	{ReasonTooMany, "the list has too many elements"},
	{ReasonNotOneOf, "the field is none of the values that the model lists"},
	{ReasonNoMatch, "the field does not match the model's pattern"},
	{ReasonTooDeep, "the field is nested too deep"},
	{ReasonNotIP, "the field is not one IP address"},
	{ReasonNotEmail, "the field is not one e-mail address"},
	{ReasonNotVersion, "the field is not a version such as 2.3.0"},
	{ReasonNotNumber, "the field is a string that is not a number"},
	{ReasonNotInteger, "the field is a number, but not an integer"},
	{ReasonNotBoolean, "the field is a string that is neither true nor false"},
	{ReasonNotTimestamp, "the field is not a time in the model's format, in the years 1 to 9999"},
	{ReasonNotDate, "the field is not a date such as 2026-01-31"},
	{ReasonNotTime, "the field is not a time of day such as 12:34:56"},
	{ReasonNotInterval, "the field is not an ISO 8601 duration such as P1DT2H"},
	{ReasonNotUUID, "the field is not a UUID"},
	{ReasonOutOfRange, "the field has a number outside what its column can hold, or with too many digits"},
	{ReasonNoRows, "the array whose elements are the rows is absent, null or empty"},
	{ReasonTooManyRows, "the rows of the message are more, or larger, than one message may have"},
	{ReasonRepeatedKey, "two rows of the message have the same key"},
	{ReasonConflict, "another message has stored a row with the same key and other content"},
	{ReasonRefused, "the database refuses the row"},
}

// Explain returns what the reason means, in a sentence.
func (r Reason) Explain() (meaning string) {
	for _, known := range reasons {
		if known.reason == r {
			meaning = known.meaning
		}
	}
	return meaning
}

// Reasons lists every reason, in order.
func Reasons() (all []Reason) {
	for _, known := range reasons {
		all = append(all, known.reason)
	}
	return all
}

// Rejection is why a message can never be stored. It names fields of the model and objects of the
// database only, so it may be logged and sent.
type Rejection struct {
	Reason Reason
	// Field is the field of the model at fault, "" for the body as a whole.
	Field string
	// Detail is what was expected, and what kind of value was found, as in "expected a number, found a
	// string"; "" if the reason says it all. It has words of the model only.
	Detail string
	// Byte is where the text stops being JSON, or where a name comes again, counted from 1; 0 if that is
	// not known. Of a body that is unwrapped, it counts in the text that Detail names.
	Byte int
	// More are the other problems of the same body, up to MaxProblems-1.
	More []Rejection
	// Omitted is how many problems the body has beyond these.
	Omitted int
	// SQLState, Constraint and Column come from Postgres when it refused the row.
	SQLState   string
	Constraint string
	Column     string
}

// foreignKey is the SQLSTATE of a row that refers to one that is not there.
const foreignKey = "23503"

// Orphan reports whether the row was refused because it refers to one that is not there.
func (r Rejection) Orphan() bool {
	return r.SQLState == foreignKey || r.Constraint == ForeignKey && r.SQLState == ""
}

// ForeignKey is the Constraint of such a row in a database without SQLSTATEs, which does not tell its
// name.
const ForeignKey = "FOREIGN KEY"

// ConflictWith returns the rejection of a row whose key is stored with other content. The id is that
// of the message that stored it, "" if that is not known.
func ConflictWith(id string) Rejection {
	detail := "the stored row is of message " + id
	if id == "" {
		detail = "the stored row has no message's id"
	}
	return Rejection{Reason: ReasonConflict, Detail: detail}
}

// MaxProblems limits how many problems of one body are listed.
const MaxProblems = 10

// RejectedMessage is a message that can never be stored, and why.
type RejectedMessage struct {
	Message   *Message
	Rejection Rejection
	// Model is the name of the model that took the message, "" if none did.
	Model string
}

// IsZero reports whether there is no rejection.
func (r Rejection) IsZero() bool { return r.Reason == "" }

// Meaning returns what the reason means, "" if the rejection says so itself.
func (r Rejection) Meaning() string {
	if r.SQLState != "" || r.Reason == ReasonNotJSON && r.Detail != "" || strings.Contains(r.Detail, "expected ") && r.Reason != ReasonKeyCase {
		return ""
	}
	return r.Reason.Explain()
}

// String returns the rejection in one line, for people.
func (r Rejection) String() string {
	s := string(r.Reason)
	if r.Field != "" {
		s += " " + r.Field
	}
	if r.Byte > 0 {
		s += " at byte " + strconv.Itoa(r.Byte)
	}
	if r.SQLState != "" && r.Detail != "" {
		s += " " + r.Detail
	}
	if r.SQLState != "" {
		s += " " + SQLState(r.SQLState)
	}
	if r.Constraint != "" {
		s += " constraint " + r.Constraint
	}
	if r.Column != "" {
		s += " column " + r.Column
	}
	if r.SQLState == "" && r.Detail != "" {
		s += ": " + r.Detail
	}
	return s
}
