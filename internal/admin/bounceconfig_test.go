package admin

import (
	"strings"
	"testing"

	"lazaret/internal/config"
)

// Profiles and alert recipients are made, changed and removed in one line
// each; what cannot be is refused and changes nothing.
func TestBounceAndAlertConfig(t *testing.T) {
	_, st := settings(t, config.Gateway)
	l := language(t, Configuration{Store: st}.ReportCommands()...)
	pending := func() *config.Config { c, _ := st.Pending(); return c }
	for _, c := range []struct{ line, want string }{
		{"bounceconfig new Lists", "Commit to put this in force."},
		{"bounceconfig new Lists", "There is a bounce profile \"Lists\" already"},
		{"bounceconfig edit Lists max_retries 5", "Commit"},
		{"bounceconfig edit Lists send_hard_bounces maybe", "neither yes nor no"},
		{"bounceconfig edit Lists nonsense 1", "is not one of: profile_name, max_retries"},
		{"bounceconfig edit Nobody max_retries 5", "There is no bounce profile"},
		{"bounceconfig delete Default", "cannot be deleted"},
		{"bounceconfig setup outside_per_hour 7", "Commit"},
		{"bounceconfig setup outside_per_hour many", "not a whole number"},
		{"bounceconfig list", "Lists\n"},
		{"alertconfig new ops@example.com", "Commit"},
		{"alertconfig edit ops@example.com severity critical", "Commit"},
		{"alertconfig edit ops@example.com classes weather", "is not one of certificates"},
		{"alertconfig list", "ops@example.com\n"},
	} {
		if out, _ := run(t, l, admin, c.line); !strings.Contains(out, c.want) {
			t.Errorf("%s: no %q in\n%s", c.line, c.want, out)
		}
	}
	conf := pending()
	if p := conf.BounceProfile("Lists"); p.MaxRetries != 5 || conf.Reports.PerHour != 7 || len(conf.Alerts.Recipients) != 1 || conf.Alerts.Recipients[0].Severity != "critical" {
		t.Errorf("%+v %+v %+v", p, conf.Reports, conf.Alerts)
	}
	run(t, l, admin, "bounceconfig delete Lists")
	run(t, l, admin, "alertconfig delete ops@example.com")
	if conf = pending(); conf.HasBounceProfile("Lists") || len(conf.Alerts.Recipients) != 0 {
		t.Error("not deleted")
	}
}
