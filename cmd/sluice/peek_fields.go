package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqs"
)

// peekedField is one field of a body as the model reads it.
type peekedField struct {
	Field string `json:"field"`
	// Row is the number of the element that has it, and Table the table of that row; of a field of the
	// message they are absent.
	Row   int    `json:"row,omitzero"`
	Table string `json:"table,omitzero"`
	// Value is what would be stored, or what the body has if the field is rejected; absent where Hidden
	// says why it is not shown.
	Value  jsontext.Value `json:"value,omitzero"`
	Masked bool           `json:"masked,omitzero"`
	Hidden string         `json:"hidden,omitzero"`
	// Reason and Detail are why the model rejects the field.
	Reason message.Reason `json:"reason,omitzero"`
	Detail string         `json:"detail,omitzero"`
	// Was is why it was rejected, if the model accepts it now or the database refused it.
	Was string `json:"was_rejected_for,omitzero"`

	// For the screen: the value, "" for NULL, and whether a note names its row.
	text  string
	named bool
}

// shown reports whether the screen has the field.
func (f *peekedField) shown() bool { return f.Row <= maxShownRows || f.named || f.problem() != "" }

// name names the field, for the screen.
func (f *peekedField) name() string {
	if f.Row == 0 {
		return f.Field
	}
	return fmt.Sprintf("%s, row %d of %s", f.Field, f.Row, f.Table)
}

// problem says what is wrong with the field, "" if nothing is.
func (f *peekedField) problem() string {
	switch {
	case f.Reason != "":
		return said(message.Rejection{Reason: f.Reason, Detail: f.Detail})
	case f.Was != "":
		return "it was rejected: " + f.Was
	default:
		return ""
	}
}

// fieldReader reads the bodies of dead letters as the models do.
type fieldReader struct {
	set    *model.Set
	reader *model.SetReader // nil without masks
	// own reports whether a queue is the one whose messages the models read.
	own func(queueARN string) bool
}

// read adds to a message what the model that takes it reads of its body.
func (r *fieldReader) read(out *peekedMessage, in *sqs.Received) {
	if out.Model != "" && !slices.Contains(modelNames(r.set), out.Model) {
		out.Unreadable = "rejected by the model " + out.Model + ", and SLUICE_MODEL names another"
		out.unshown = "is of the model " + out.Model + "; set SLUICE_MODEL to it to see the fields"
		return
	}
	if r.reader == nil {
		return
	}
	rows, taken, v := messageRows(r.set, r.reader, &in.Message)
	bad := v.Rejection
	switch {
	case rows == nil:
	case r.set.Models[taken].SeveralRows():
		out.Rows = rows
	default:
		out.Columns = rows[0].Columns
	}
	if !bad.IsZero() {
		out.Unreadable = bad.String()
	}
	if taken >= 0 && len(r.set.Models) > 1 {
		out.Now = r.set.Models[taken].Name
	}
	var fields []model.FieldValue
	switch {
	case v.Outcome == message.Ignored:
		out.Unreadable = "the model " + r.set.Models[taken].Name + " takes it now, and ignores it"
		out.unshown = "is not shown, because the model " + r.set.Models[taken].Name + " takes it and ignores it"
		return
	case taken >= 0:
		fields, _ = r.reader.Of(taken).Fields(&in.Message) // messageRows has the verdict
	}
	// The model that rejected it knows what is personal in it, and another one only if it stores it so.
	other := out.Model != "" && taken >= 0 && r.set.Models[taken].Name != out.Model
	switch {
	case bad.Reason == message.ReasonNoModel:
		out.unshown = "is not shown, because no model takes it; --raw shows it: " + said(bad)
		out.again = out.Reason == bad.Reason
	case fields == nil && !bad.IsZero():
		out.unshown = "cannot be read: " + said(bad)
		out.again = out.Reason == bad.Reason
	case !bad.IsZero() && other:
		out.unshown = "is not shown, because the model " + out.Model + " rejected it, and " + r.set.Models[taken].Name + ", which takes it now, does not accept it: " + said(bad)
		return
	case !bad.IsZero() && out.Model == "" && !r.own(in.SourceARN):
		// It is perhaps of another model, for which other fields are personal.
		out.unshown = "is not shown, because the model does not accept it and it did not come from SQS_URL: " + said(bad)
		return
	}
	for i := range fields {
		out.Fields = append(out.Fields, r.field(&fields[i], in.Note))
	}
}

// field describes a field, with what a note says of it.
func (r *fieldReader) field(f *model.FieldValue, n *sqs.Note) peekedField {
	out := peekedField{Field: f.Name, Row: f.Row, Table: f.Table, Masked: f.Masked && f.Value != nil, Hidden: f.Hidden, Reason: f.Rejection.Reason, Detail: f.Rejection.Detail}
	switch {
	case f.Hidden != "":
		out.text = "(" + f.Hidden + ")"
	case f.Found != nil:
		out.Value, out.text = f.Found, string(f.Found)
	case f.Column == nil:
	case f.Value == nil:
		out.Value = jsontext.Value("null")
	default:
		out.text = show(f.Column, f.Value)
		out.Value = jsonOf(f.Column, f.Value)
	}
	if n == nil || out.Reason != "" {
		return out
	}
	ofRow := func(detail string) bool { // a detail names the row first
		return f.Row == 0 || strings.HasPrefix(detail+":", fmt.Sprintf("row %d of %s:", f.Row, f.Table))
	}
	out.named = n.Field == "" && ofRow(n.Detail)
	for _, p := range append([]sqs.Problem{{Reason: n.Reason, Field: n.Field, Detail: n.Detail}}, n.Problems...) {
		if p.Field == f.Name && ofRow(p.Detail) {
			out.Was = said(message.Rejection{Reason: p.Reason, Detail: p.Detail}) + "; the model accepts it now"
			break
		}
	}
	if n.Column != "" && f.Column != nil && n.Column == f.Column.Name && ofRow(n.Detail) {
		out.Was = said(message.Rejection{Reason: n.Reason, SQLState: n.SQLState, Constraint: n.Constraint, Column: n.Column})
	}
	return out
}
