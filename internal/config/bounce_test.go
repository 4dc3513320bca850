package config

import (
	"strings"
	"testing"
	"time"

	"lazaret/internal/bounce"
)

const oldProfile = `  <bounce_profile>
    <max_retries>7</max_retries>
    <max_time_in_queue>86400</max_time_in_queue>
    <first_retry>30</first_retry>
    <longest_interval>900</longest_interval>
  </bounce_profile>
`

// A file with the one profile of before opens as Default, and is written in
// the new form; a file without any has the default one.
func TestOldBounceProfile(t *testing.T) {
	text := string(sample(t, Gateway).Text(false))
	from, to := strings.Index(text, "  <bounce_profiles>"), strings.Index(text, "</bounce_profiles>\n")+len("</bounce_profiles>\n")
	c, err := Parse([]byte(text[:from] + oldProfile + text[to:]))
	if err != nil {
		t.Fatal(err)
	}
	p := c.BounceProfile(bounce.Default)
	if len(c.BounceProfiles) != 1 || p.MaxRetries != 7 || p.MaxTime != 24*time.Hour || p.FirstRetry != 30*time.Second || p.LongestWait != 15*time.Minute || p.Warnings != 1 || p.WarnAfter != 4*time.Hour || p.Silent || p.Simple {
		t.Errorf("%+v", p)
	}
	again, err := Parse(c.Text(false))
	if err != nil || again.BounceProfile("unknown") != p {
		t.Errorf("%v %+v", err, again)
	}
	if _, err := Parse([]byte(text[:from] + strings.Replace(oldProfile, ">30<", ">0<", 1) + text[to:])); err == nil || !strings.Contains(err.Error(), "config/bounce_profile/first_retry: 0 is not") {
		t.Errorf("the place in an old file: %v", err)
	}
	if c, err = Parse([]byte(text[:from] + text[to:])); err != nil || c.BounceProfile("") != bounce.DefaultProfile() {
		t.Errorf("without any: %v", err)
	}
}

// Profiles are found by name; what a profile says survives the file.
func TestBounceProfiles(t *testing.T) {
	c := sample(t, Gateway)
	p := bounce.DefaultProfile()
	p.Name, p.Silent, p.Simple, p.Warnings, p.WarnAfter, p.Subject = "Lists", true, true, 0, time.Hour, "Zurück"
	p.Notification = "Dear {sender},\n{recipients}"
	c.BounceProfiles = append(c.BounceProfiles, NewBounceProfile(p))
	c.Destinations = append(c.Destinations, Destination{Domain: "lists.example", TLS: "none", BounceProfile: "Lists"})
	got, err := Parse(c.Text(false))
	if err != nil {
		t.Fatal(err)
	}
	if q := got.BounceProfile("Lists"); q != p {
		// a profile without warnings keeps no number of them
		t.Errorf("\n got %+v\nwant %+v", q, p)
	}
	if got.ReportSender().String() != "MAILER-DAEMON@gw1.example.com" {
		t.Error(got.ReportSender())
	}
}
