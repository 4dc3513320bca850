package outbreak

import (
	"encoding/json"
	"strconv"
	"time"

	"lazaret/internal/errs"
)

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// Draft is what a person writes: a feed without what publishing adds.
type Draft struct {
	Name  string `json:"feed"`
	Rules []Rule `json:"rules"`
}

// ReadDraft reads a draft. A rule without a time was published now.
func ReadDraft(b []byte, now time.Time) (*Draft, error) {
	d := new(Draft)
	if err := parseJSON(b, d); err != nil {
		return nil, because(err, "outbreak rules")
	}
	for i := range d.Rules {
		if d.Rules[i].Published.IsZero() {
			d.Rules[i].Published = now.UTC().Truncate(time.Second)
		}
	}
	return d, nil
}

// Publish makes the octets to be signed of a draft. The serial is one more than
// that of the feed before, 0 for the first.
func (d *Draft) Publish(before uint64, now time.Time, valid time.Duration, compile Compile) ([]byte, *Feed, error) {
	now = now.UTC().Truncate(time.Second)
	f := &Feed{Name: d.Name, Serial: before + 1, Published: now, Expires: now.Add(valid), Rules: d.Rules}
	if f.Rules == nil {
		f.Rules = []Rule{}
	}
	if err := f.Check(compile); err != nil {
		return nil, nil, because(err, "outbreak rules")
	}
	b, err := json.MarshalIndent(f, "", " ")
	return append(b, '\n'), f, errs.Wrap(errs.Internal, err, "writing the feed")
}
