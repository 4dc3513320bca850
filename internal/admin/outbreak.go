package admin

import (
	"context"
	"strings"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/outbreak"
)

// Threats is what the commands ask of the outbreak rules in force.
type Threats interface {
	OutbreakStatus() outbreak.Status
	// OutbreakRule gives a rule in force; NotFound when there is none of that id.
	OutbreakRule(id string) (outbreak.Rule, error)
	// OutbreakUpdate asks the source of rules now, and says what came of it.
	OutbreakUpdate(ctx context.Context) (string, error)
	// OutbreakCopies says what is kept of messages that a manager holds; "": nothing.
	OutbreakCopies() string
}

// OutbreakCommands gives the commands about outbreak rules, of a gateway.
// Changes are pending until commit.
func (f Configuration) OutbreakCommands(t Threats) []Command {
	return []Command{
		{Name: "outbreakconfig", Summary: "Change where outbreak rules come from, and who may sign them",
			Usage: "outbreakconfig [PARAMETER=VALUE...]\n\nsource (an absolute path or an HTTPS URL; empty: no rules), feed (the name that the feed must have), key (public keys that may sign it, with commas: ed25519:...),\npoll (how often it is asked for: 5m), ca_file (roots for its server; empty: those of the system), max_message_size (such as 20M; empty: no limit).\nWhat is done with a message is a setting of its mail policy: policyconfig.",
			Right: auth.ConfigChange, MaxArgs: 6, Run: f.outbreak},
		{Name: "outbreakstatus", Summary: "Show the outbreak rules in force", Usage: "outbreakstatus [RULE]", Right: auth.ConfigView, MaxArgs: 1, Run: outbreakStatus(t, f.Clock)},
		{Name: "outbreakupdate", Summary: "Ask for new outbreak rules now", Usage: "outbreakupdate", Right: auth.ConfigChange, Run: outbreakUpdate(t)},
	}
}

func (f Configuration) outbreak(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	o := conf.Outbreak
	return f.element(c, "source of outbreak rules", &o, func(next *config.Config) { next.Outbreak = o })
}

func outbreakUpdate(t Threats) func(context.Context, *Call) error {
	return func(ctx context.Context, c *Call) error {
		said, err := t.OutbreakUpdate(ctx)
		if err == nil {
			c.Printf("%s\n", Plain(said))
		}
		return err
	}
}

func outbreakStatus(t Threats, now func() time.Time) func(context.Context, *Call) error {
	return func(_ context.Context, c *Call) error {
		if len(c.Args) > 0 {
			r, err := t.OutbreakRule(c.Take())
			if err != nil {
				return err
			}
			showRule(c, &r)
			return nil
		}
		s := t.OutbreakStatus()
		if copies := t.OutbreakCopies(); copies != "" {
			c.Printf("Copies:     %s\n", Plain(copies))
		}
		if s.Settings.Source == "" {
			c.Printf("There is no source of outbreak rules; outbreakconfig says where one is.\n")
			return nil
		}
		c.Printf("Source:     %s\n", Plain(s.Settings.Source))
		var keys []string
		for _, k := range s.Settings.Keys {
			keys = append(keys, k.ID())
		}
		c.Printf("Feed:       %s, signed by one of %s\n", Plain(s.Settings.Feed), strings.Join(keys, ", "))
		c.Printf("Last asked: %s\nLast good:  %s\n", moment(s.Asked), moment(s.Good))
		if s.Trouble != "" {
			c.Printf("Trouble:    %s\n", Plain(s.Trouble))
		}
		if s.Feed.Serial == 0 {
			c.Printf("In force:   no rules\n")
			return nil
		}
		c.Printf("In force:   serial %d of %s, %d rules; another one by %s\n", s.Feed.Serial, moment(s.Feed.Published), len(s.Feed.Rules), moment(s.Feed.Expires))
		if len(s.Feed.Rules) == 0 {
			return nil
		}
		c.Printf("\n%-40s %5s %-8s %-20s %s\n", "Rule", "Level", "Kind", "Expires", "Description")
		for i := range s.Feed.Rules {
			r := &s.Feed.Rules[i]
			expires := "never"
			if r.Expired(now()) {
				expires = "expired"
			} else if !r.Expires.IsZero() {
				expires = moment(r.Expires)
			}
			c.Printf("%-40s %5d %-8s %-20s %s\n", Plain(r.ID), r.Level, Plain(string(r.Kind)), expires, Plain(Clip(r.Text, 80)))
			if err := c.Err(); err != nil {
				return err
			}
		}
		return nil
	}
}

// moment shows a time, to the minute.
func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04") + " UTC"
}

// showRule prints what a rule asks for.
func showRule(c *Call, r *outbreak.Rule) {
	c.Printf("Rule:        %s\nLevel:       %d\nKind:        %s\nType:        %s\nPublished:   %s\nDescription: %s\n",
		Plain(r.ID), r.Level, Plain(string(r.Kind)), Plain(r.TypeWord()), moment(r.Published), Plain(r.Text))
	if !r.Expires.IsZero() {
		c.Printf("Expires:     %s\n", moment(r.Expires))
	}
	list := func(name string, all []string) {
		if len(all) > 0 {
			c.Printf("%s %s\n", name, Plain(Clip(strings.Join(all, "  "), 1000)))
		}
	}
	size := func(name string, s *outbreak.Range) {
		if s != nil {
			c.Printf("%s %d to %d bytes (0: no bound)\n", name, s.Min, s.Max)
		}
	}
	size("Message of: ", r.Size)
	for _, h := range r.Headers {
		c.Printf("Header:      %s: %s\n", Plain(h.Name), Plain(h.Match))
	}
	list("Text:       ", r.Body)
	list("Hosts:      ", r.Hosts)
	if w := r.File; w != nil {
		list("File name:  ", w.Names)
		list("Extension:  ", w.Extensions)
		list("Media type: ", w.Types)
		list("File kind:  ", w.Kinds)
		size("File of:    ", w.Size)
		list("SHA-256:    ", w.SHA256)
	}
}

// rules shows what each outbreak rule holds (reference 2.6).
func (q Quarantines) rules(ctx context.Context, c *Call) error {
	opt, err := c.options("--json")
	if err != nil {
		return err
	}
	all, err := q.Service.ByRule(ctx, c.Principal)
	if err != nil {
		return err
	}
	if !opt.has("--json") {
		c.Printf("%-40s %10s %14s  %-20s %s\n", "Rule", "Messages", "Size (KB)", "Oldest", "First Exit")
	}
	for _, r := range all {
		if opt.has("--json") {
			err = jsonLine(c, r)
		} else {
			c.Printf("%-40s %10s %14s  %-20s %s\n", Plain(r.Rule), comma(r.Messages), comma((r.Bytes+1023)/1024), moment(r.First), moment(r.Exit))
			err = c.Err()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
