package message

// Reason is why a message can never be stored: one stable word, fit for a metric's dimension.
type Reason string

// The reasons. None of them has a value or a key of a body.
const (
	ReasonNoBody       Reason = "no_body"
	ReasonNoSentTime   Reason = "no_sent_time"
	ReasonNotJSON      Reason = "not_json"
	ReasonNotObject    Reason = "not_an_object"
	ReasonDuplicateKey Reason = "duplicate_key"
	ReasonKeyCase      Reason = "key_case"
	ReasonMissing      Reason = "missing"
	ReasonWrongType    Reason = "wrong_type"
	ReasonNUL          Reason = "nul_character"
	ReasonTooLong      Reason = "too_long"
	ReasonTooDeep      Reason = "too_deep"
	ReasonNotIP        Reason = "not_an_ip_address"
	ReasonNotEmail     Reason = "not_an_email_address"
	ReasonNotVersion   Reason = "not_a_version"
	ReasonNotInteger   Reason = "not_an_integer"
	ReasonNotTimestamp Reason = "not_a_timestamp"
	ReasonNotDate      Reason = "not_a_date"
	ReasonNotUUID      Reason = "not_a_uuid"
	ReasonOutOfRange   Reason = "out_of_range"
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
	{ReasonKeyCase, "the body has a key that differs from this field in upper and lower case only"},
	{ReasonMissing, "the field is required, and is absent, null or blank"},
	{ReasonWrongType, "the field has another JSON type than the model says"},
	{ReasonNUL, "the field holds a NUL character"},
	{ReasonTooLong, "the field has more characters than its column"},
	{ReasonTooDeep, "the field is nested too deep"},
	{ReasonNotIP, "the field is not one IP address"},
	{ReasonNotEmail, "the field is not one e-mail address"},
	{ReasonNotVersion, "the field is not a version such as 2.3.0"},
	{ReasonNotInteger, "the field is a number, but not an integer"},
	{ReasonNotTimestamp, "the field is not an RFC 3339 time with a zone, in the years 1 to 9999"},
	{ReasonNotDate, "the field is not a date such as 2026-01-31"},
	{ReasonNotUUID, "the field is not a UUID"},
	{ReasonOutOfRange, "the field has a number outside what its column can hold, or with too many digits"},
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
	// SQLState, Constraint and Column come from Postgres when it refused the row.
	SQLState   string
	Constraint string
	Column     string
}

// RejectedMessage is a message that can never be stored, and why.
type RejectedMessage struct {
	Message   *Message
	Rejection Rejection
}

// IsZero reports whether there is no rejection.
func (r Rejection) IsZero() bool { return r.Reason == "" }

// String returns the rejection in one line, for people.
func (r Rejection) String() string {
	s := string(r.Reason)
	if r.Field != "" {
		s += " " + r.Field
	}
	if r.SQLState != "" {
		s += " SQLSTATE " + r.SQLState
	}
	if r.Constraint != "" {
		s += " constraint " + r.Constraint
	}
	if r.Column != "" {
		s += " column " + r.Column
	}
	return s
}
