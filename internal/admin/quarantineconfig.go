package admin

import (
	"context"
	"slices"
	"strings"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
)

const quarantineConfigUsage = `quarantineconfig
quarantineconfig new NAME RETENTION ACTION
quarantineconfig edit NAME [retention 10d] [action Delete|Release] [exempt yes|no] [release_clean yes|no] [users A,B|none] [roles A,B|none] [former_names A,B|none]
    [early_subject TEXT|none] [early_subject_place start|end] [early_header "X-NAME: VALUE"|none] [early_strip yes|no]
quarantineconfig rename NAME NEWNAME   what it holds goes along; filters that use the old name still reach it
quarantineconfig delete NAME Y
quarantineconfig rules [undo_release 30s] [delete_rest 7d] [pool_size 20G] [keep_released 5d] [search_text 0]
                     [report_false_positive ADDRESS] [report_suspicious ADDRESS]
quarantineconfig retain NAME      apply the retention in force to what is held there already; at once
quarantineconfig confirmclock Y   say that the clock is right, after it jumped; at once
The early_ settings, with action Release, are done to what is released to make room, before its time: text in
the subject, a header, attachments stripped. The gateway does it; what is released by hand or by time goes as it came.
release_clean: what quarantine rescan, by hand or after an update of the signatures, finds clean is released.
RETENTION is hours or days: 12h, 10d. What a new retention says holds for what comes in from then on.`

// quarantineConfig is menu and batch form of the settings of quarantines.
func (q Quarantines) quarantineConfig(ctx context.Context, c *Call) error {
	for {
		if len(c.Args) == 0 {
			q.showSettings(c)
		}
		word, err := c.Menu(Choice{"NEW", "Create a quarantine."}, Choice{"EDIT", "Modify a quarantine."},
			Choice{"RENAME", "Give a quarantine another name."},
			Choice{"DELETE", "Remove a quarantine."}, Choice{"RULES", "Set what holds for all of them."},
			Choice{"RETAIN", "Apply a retention to what is held already."}, Choice{"CONFIRMCLOCK", "Say that the clock is right."})
		if err != nil || word == "" {
			return err
		}
		err = badArguments(q.settings(ctx, c, word))
		if err != nil && !c.Batch && isUsage(err) {
			c.Printf("%s\n", Plain(sentence(err))) // said, and the menu comes again
			continue
		}
		if err != nil || c.Batch {
			return err
		}
	}
}

func (q Quarantines) settings(ctx context.Context, c *Call, word string) (err error) {
	switch word {
	case "new":
		err = q.newQuarantine(c)
	case "edit":
		err = q.editQuarantine(c)
	case "rename":
		err = q.renameQuarantine(c)
	case "delete":
		err = q.deleteQuarantine(c)
	case "rules":
		err = q.editRules(c)
	case "retain":
		return q.retain(ctx, c)
	case "confirmclock":
		return q.confirmClock(c)
	}
	if err == nil {
		c.Printf("Commit to put this in force.\n")
	}
	return err
}

func (q Quarantines) showSettings(c *Call) {
	conf, _ := q.Config.Pending()
	c.Printf("\nCurrently configured quarantines:\n")
	for i, s := range conf.Quarantines {
		c.Printf("%d. %-20s retention %s, then %s", i+1, Plain(s.Name), Plain(s.Retention), Plain(s.Action))
		if s.Exempt {
			c.Printf(", makes no room")
		}
		if s.Clean {
			c.Printf(", released when found clean")
		}
		if len(s.Former) > 0 {
			c.Printf(", formerly %s", Plain(strings.Join(s.Former, ", ")))
		}
		if early := earlyWords(s); early != "" {
			c.Printf(", early: %s", Plain(early))
		}
		if who := strings.Join(slices.Concat(s.Users, s.Roles), ", "); who != "" {
			c.Printf(", for %s", Plain(who))
		}
		c.Printf("\n")
	}
	r := conf.QuarantineRules
	c.Printf("A release can be taken back for %s, deleted mail rests for %s, all together may hold %s.\n"+
		"What was released is kept for %s at most, until its delivery is proven.\n",
		textOr(r.UndoRelease, "30s"), textOr(r.DeleteRest, "7d"), textOr(r.Pool, "20G"), textOr(r.KeepReleased, "5d"))
	if text := textOr(r.SearchText, "0"); text != "0" {
		c.Printf("Of the text of each message %s can be searched.\n", Plain(text))
	}
	for _, to := range []struct{ what, address string }{{"False positives of outbreak rules are", r.ReportFalse}, {"What is suspicious is", r.ReportSuspicious}} {
		if to.address != "" {
			c.Printf("%s reported to %s.\n", to.what, Plain(to.address))
		}
	}
	if clock := q.Service.Clock(); clock.Doubt {
		c.Printf("The clock jumped: nothing expires until %s.\n", stamp(clock.Until))
	} else if clock.Blocked {
		c.Printf("The clock jumped, and much is due at once: nothing expires until somebody says confirmclock.\n")
	}
}

func textOr(s, def string) string {
	if s == "" {
		return def
	}
	return Plain(s)
}

func (q Quarantines) newQuarantine(c *Call) error {
	s := config.Quarantine{Kind: string(quarantine.KindPolicy)}
	for _, f := range []struct {
		question, def string
		to            *string
	}{
		{"Enter a name for the quarantine.", "", &s.Name},
		{"How long are messages kept? (10d, 12h)", "10d", &s.Retention},
		{"What becomes of them then? (Delete, Release)", string(quarantine.Delete), &s.Action},
	} {
		var err error
		if *f.to, err = c.Ask(f.question, f.def); err != nil {
			return err
		}
	}
	s.Action = actionWord(s.Action)
	return q.Config.Change(c.Principal, "new quarantine "+quoted([]string{s.Name, s.Retention, s.Action}), func(next *config.Config) error {
		next.Quarantines = append(next.Quarantines, s)
		return nil
	})
}

// actionWord lets delete and release be typed in any case.
func actionWord(s string) string {
	for _, a := range []quarantine.Action{quarantine.Delete, quarantine.Release} {
		if strings.EqualFold(s, string(a)) {
			return string(a)
		}
	}
	return s
}

// pickQuarantine gives the name of one of those that are configured or pending.
func (q Quarantines) pickQuarantine(c *Call, question string) (string, error) {
	conf, _ := q.Config.Pending()
	names := make([]string, len(conf.Quarantines))
	for i, s := range conf.Quarantines {
		names[i] = s.Name
	}
	i, err := c.Pick(question, names, 0)
	if err != nil {
		return "", err
	}
	return names[i], nil
}

func (q Quarantines) deleteQuarantine(c *Call) error {
	name, err := q.pickQuarantine(c, "Enter the number of the quarantine you wish to delete.")
	if err != nil {
		return err
	}
	sure, err := c.Confirm("Messages in it leave by its default action, and filters that name it reach Unclassified. Are you sure?", false)
	if err != nil {
		return err
	}
	if !sure {
		return errs.New(errs.Conflict, "Nothing was deleted: it was not confirmed")
	}
	return q.Config.Change(c.Principal, "delete quarantine "+quoted([]string{name}), func(next *config.Config) error {
		next.Quarantines = slices.DeleteFunc(next.Quarantines, func(s config.Quarantine) bool { return s.Name == name })
		return nil
	})
}

func (q Quarantines) editRules(c *Call) error {
	conf, _ := q.Config.Pending()
	r := conf.QuarantineRules
	fields := []struct {
		name, question, def string
		to                  *string
	}{
		{"undo_release", "How long can a release be taken back? (30s, 0: not at all)", "30s", &r.UndoRelease},
		{"delete_rest", "How long does deleted mail rest in the bin? (7d, 0: not at all)", "7d", &r.DeleteRest},
		{"pool_size", "How much may all quarantines hold? (20G, 0: as much as the disk)", "20G", &r.Pool},
		{"keep_released", "How long is released mail kept at most, until its delivery is proven? (5d, 0: not at all)", "5d", &r.KeepReleased},
		{"search_text", "How much of the text of each message can be searched? (16K, 0: none)", "0", &r.SearchText},
		{"report_false_positive", "To which address do false positives of outbreak rules go? (empty: nobody hears)", "", &r.ReportFalse},
		{"report_suspicious", "To which address does suspicious mail go? (empty: nobody hears)", "", &r.ReportSuspicious},
	}
	if c.Batch {
		if len(c.Args) == 0 || len(c.Args)%2 != 0 {
			return Usage("rules needs a setting and its value")
		}
		for len(c.Args) > 0 {
			name, value := c.Take(), c.Take()
			i := slices.IndexFunc(fields, func(f struct {
				name, question, def string
				to                  *string
			}) bool {
				return f.name == name
			})
			if i < 0 {
				return Usage("there is no rule %q", name)
			}
			*fields[i].to = value
		}
	} else {
		for _, f := range fields {
			var err error
			if *f.to, err = c.Ask(f.question, textOr(*f.to, f.def)); err != nil {
				return err
			}
		}
	}
	return q.Config.Change(c.Principal, "quarantine rules "+quoted([]string{r.UndoRelease, r.DeleteRest, r.Pool, r.KeepReleased, r.SearchText, r.ReportFalse, r.ReportSuspicious}), func(next *config.Config) error {
		next.QuarantineRules = r
		return nil
	})
}

func (q Quarantines) retain(ctx context.Context, c *Call) error {
	name, err := q.pickQuarantine(c, "Enter the number of the quarantine whose retention is applied.")
	if err != nil {
		return err
	}
	out, err := q.Service.Retain(ctx, c.Principal, name)
	return outcome(c, "given a new exit time", out.Count, out, err)
}

func (q Quarantines) confirmClock(c *Call) error {
	sure, err := c.Confirm("It is "+stamp(q.Clock())+". What is due by this time leaves now. Is it right?", false)
	if err != nil {
		return err
	}
	if !sure {
		return errs.New(errs.Conflict, "Nothing was confirmed")
	}
	if err := q.Service.ConfirmClock(c.Principal); err != nil {
		return err
	}
	c.Printf("The clock is taken for right.\n")
	return nil
}

// forecast says when the pool is full and what expiry will do.
func (q Quarantines) forecast(ctx context.Context, c *Call) error {
	opt, err := c.options("--at=", "--json")
	if err != nil {
		return err
	}
	at := q.Clock().Add(24 * time.Hour)
	if s := opt.last("--at"); s != "" {
		if at, err = q.date(s); err != nil {
			return err
		}
	}
	due, err := q.Service.DueBy(ctx, c.Principal, at)
	if err != nil {
		return err
	}
	if opt.has("--json") {
		return q.forecastJSON(ctx, c, at, due)
	}
	if auth.Can(c.Principal.Role, auth.QuarantineAll) {
		f, err := q.Service.Forecast(ctx, c.Principal)
		if err != nil {
			return err
		}
		printForecast(c, f)
	}
	c.Printf("By %s the clock will do this:\n", stamp(at))
	for _, d := range due {
		c.Printf("  %-20s %-8s %10s messages, %s KB\n", Plain(d.Quarantine), d.Action, comma(d.Messages), comma((d.Bytes+1023)/1024))
	}
	if len(due) == 0 {
		c.Printf("  nothing\n")
	}
	return nil
}

func printForecast(c *Call, f quarantine.Forecast) {
	c.Printf("The quarantines hold %s KB", comma(f.Used>>10))
	if f.Limit > 0 {
		c.Printf(" of %s KB (%d%%)", comma(f.Limit>>10), f.Used*100/f.Limit)
	}
	c.Printf(", %s KB of it in the bin.\n%s KB come in a day (the last %s), and stay %d hours.\n", comma(f.Bin>>10), comma(f.PerDay>>10), f.Basis, f.Retained)
	switch {
	case f.Limit == 0:
		c.Printf("There is no limit but the disk.\n")
	case f.Full.IsZero():
		c.Printf("If this goes on, the limit is not reached within %d days.\n", f.Horizon)
	default:
		c.Printf("If this goes on, the limit is reached by %s.\n", stamp(f.Full))
	}
	if f.Clock.Doubt || f.Clock.Blocked {
		c.Printf("Nothing expires at present: the clock jumped. See quarantineconfig.\n")
	}
}

func (q Quarantines) forecastJSON(ctx context.Context, c *Call, at time.Time, due []quarantine.Due) error {
	out := struct {
		Pool *quarantine.Forecast `json:"pool"` // null for those without the right to all quarantines
		At   time.Time            `json:"at"`
		Due  []quarantine.Due     `json:"due"`
	}{At: at.UTC(), Due: due}
	if auth.Can(c.Principal.Role, auth.QuarantineAll) {
		f, err := q.Service.Forecast(ctx, c.Principal)
		if err != nil {
			return err
		}
		out.Pool = &f
	}
	return jsonLine(c, out)
}
