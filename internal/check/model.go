package check

import (
	"strings"

	"sluice/internal/model"
)

// Model lists which values of a model are stored as they were sent. JSON can hold anything, and no
// rule of a model looks inside it.
func Model(m *model.Model) (f Findings) {
	if len(m.Personal()) == 0 {
		return nil
	}
	if raw := m.Raw(model.TypeJSON); raw != nil {
		f.Add(Warning, "masks", "json_raw", "leave it out of the model, or make sure that it holds nothing personal; the sender can put what is needed into separate members",
			"%s is JSON and is stored as it was sent, with any personal value in it: the model masks fields, not parts of one", strings.Join(raw, ", "))
	}
	if raw := m.Raw(model.TypeText); raw != nil {
		f.Add(OK, "masks", "text_raw", "", "text that is stored as it was sent, because the model does not call it personal: %s", strings.Join(raw, ", "))
	}
	return f
}
