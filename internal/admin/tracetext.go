package admin

import (
	"strings"
)

// printTrace says in words what would become of a message, stage by stage. The
// order and the words are those that administrators know from the original.
func printTrace(c *Call, q *TraceQuery, t *Trace) {
	group := "sender group " + Plain(t.Client.Group)
	if t.Client.Group == "" {
		group = "unnamed sender group"
	}
	c.Printf("\nListener %s, source %s (%s, verified %s)\n", Plain(t.Listener), t.Client.IP, Plain(t.Client.Host), yesNoWord(t.Client.Verified))
	c.Printf("HAT matched on %s, host %s\n - Applying $%s policy (%s behavior).\n", group, Plain(t.Client.Match), Plain(t.Client.Policy), t.Client.Behaviour)
	if t.Client.MaxSize > 0 {
		c.Printf(" - Maximum Message Size: %d\n - Maximum Number Of Recipients: %d\n - Use TLS: %s\n", t.Client.MaxSize, t.Client.MaxRecipients, t.Client.TLS)
	}
	if t.Sender != "" {
		c.Printf("Processing MAIL FROM: <%s>\n - %s\n", Plain(q.From.String()), Plain(t.Sender))
	}
	if len(t.Recipients) > 0 {
		c.Printf("Processing Recipient List:\n")
	}
	for _, r := range t.Recipients {
		match := " - RAT matched on " + Plain(r.Match)
		if r.Match == "" {
			match = " - RAT not asked"
		}
		c.Printf("Processing %s\n%s, behavior = %s: %s\n", Plain(r.Address), match, acceptWord(r.Accepted), Plain(r.Reply))
	}
	if t.Refused != "" {
		c.Printf("Message refused: %s\n", Plain(t.Refused))
		return
	}
	for _, f := range t.Filters {
		printTracedFilter(c, &f)
	}
	if len(t.Filters) == 0 {
		c.Printf("No message filter is active.\n")
	}
	if t.SenderAuth != "" {
		c.Printf("Sender Authentication:\n - %s\n", Plain(t.SenderAuth))
	}
	for i, a := range t.Attachments {
		if i == 0 {
			c.Printf("Attachments:\n")
		}
		c.Printf(" - %s in part %s\n", Plain(a.Finding), Clip(a.Path, 80))
	}
	if t.Ambiguous != "" {
		c.Printf("MIME Inspection:\n - %s\n", Plain(t.Ambiguous))
	}
	for i := range t.Parts {
		printTracedPart(c, &t.Parts[i])
	}
	if t.Waits != "" {
		c.Printf("Message stays in the work queue: %s\n", Plain(t.Waits))
	}
}

func printTracedFilter(c *Call, f *TraceFilter) {
	c.Printf("Processing filter '%s':\n", Plain(f.Name))
	for _, r := range f.Rules {
		result := "False"
		if r.Result {
			result = "True"
		}
		c.Printf("Evaluating Rule: %s\n Result = %s\n", Plain(r.Rule), result)
		for _, m := range r.Matched {
			c.Printf(" Matched: %s (%s)\n", Clip(m.Text, 160), Clip(m.Part, 160))
		}
	}
	for _, a := range f.Actions {
		c.Printf(" Action: %s\n", Plain(a))
	}
}

func printTracedPart(c *Call, p *TracePart) {
	switch p.Table {
	case "":
		c.Printf("Message to: %s\n", Plain(strings.Join(p.Recipients, ", ")))
	default:
		direction := strings.ToUpper(p.Table[:1]) + p.Table[1:]
		c.Printf("%s Recipient Policy Processing: (matched on %s policy)\nMessage going to: %s\n", direction, Plain(p.Policy), Plain(strings.Join(p.Recipients, ", ")))
		c.Printf("AntiSpam Evaluation:\n - %s\nAntiVirus Evaluation:\n", Plain(p.Antispam))
		for _, a := range p.Antivirus {
			c.Printf(" - %s\n", Plain(a))
		}
		if p.Files != "" {
			c.Printf("File Analysis Evaluation:\n - %s\n", Plain(p.Files))
		}
		for _, f := range p.Filters {
			c.Printf("Content ")
			printTracedFilter(c, &f)
		}
		if p.Outbreak != "" {
			c.Printf("Outbreak Filter Evaluation:\n - %s\n", Plain(p.Outbreak))
		}
		if p.DLP != "" {
			c.Printf("DLP Evaluation:\n - %s\n", Plain(p.DLP))
		}
	}
	for _, n := range p.Notes {
		c.Printf("Log entry: %s\n", Plain(n))
	}
	for _, to := range p.Copies {
		c.Printf("Copy to quarantine \"%s\" (%s)\n", Plain(to.Quarantine), Plain(to.Reason))
	}
	for _, h := range p.Headers {
		c.Printf("Added header: %s\n", Plain(h))
	}
	for _, x := range p.Changes {
		c.Printf("Changed: %s\n", Plain(x))
	}
	switch {
	case p.Drop != "":
		c.Printf("Message aborted: %s\n", Plain(p.Drop))
	case len(p.Quarantine) > 0:
		for _, to := range p.Quarantine {
			c.Printf("Message Enqueued for quarantine \"%s\" (%s)\n", Plain(to.Quarantine), Plain(to.Reason))
		}
	default:
		c.Printf("Message Enqueued for Delivery\n")
	}
	for _, d := range p.Next {
		c.Printf(" - %s: %s\n", Plain(d.Name), Plain(strings.Join(d.Recipients, ", ")))
	}
	if p.Final != "" {
		printFinal(c, p)
	}
}

// printFinal shows a message as it would go on.
func printFinal(c *Call, p *TracePart) {
	if p.Final == "" {
		return
	}
	of := "dropped by no policy"
	if p.Policy != "" {
		of = "matched on policy " + Plain(p.Policy)
	}
	c.Printf("\nFinal text for messages %s\nFinal Recipients: %s\nFinal Message Content:\n", of, Plain(strings.Join(p.Recipients, ", ")))
	for line := range strings.Lines(p.Final) {
		c.Printf("%s\n", Plain(strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    ")))
		if c.Err() != nil {
			return
		}
	}
}

func yesNoWord(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func acceptWord(b bool) string {
	if b {
		return "ACCEPT"
	}
	return "REJECT"
}
