package bench

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"strings"
)

var (
	firstNames = strings.Fields("anna ben carla david elif felix greta hugo ines jan kaya liam maria noah olga paul quirin rosa sven tina uwe vera wim xenia yusuf zoe")

	domainWords = strings.Fields("acme valves news partner lawyers bank shop post office supply travel cloud media energy parts design school clinic freight paper")

	// languages, the most common first.
	languages = []language{
		{words: strings.Fields("invoice your order payment confirmed account meeting report update delivery price offer reminder contract statement please review attached document urgent today newsletter")},
		{words: strings.Fields("Rechnung Ihre Bestellung Zahlung bestätigt Konto Besprechung Bericht Änderung Lieferung Preis Angebot Mahnung Vertrag Übersicht bitte prüfen Anhang dringend heute"), encode: "utf-8"},
		{words: strings.Fields("facture votre commande paiement confirmé compte réunion rapport livraison prix offre rappel contrat relevé vérifier pièce jointe aujourd'hui"), encode: "utf-8"},
		{words: strings.Fields("factura su pedido pago confirmado cuenta reunión informe entrega precio oferta recordatorio contrato revisión documento urgente hoy"), encode: "utf-8"},
		{words: strings.Fields("счёт ваш заказ оплата подтверждён встреча отчёт доставка цена предложение напоминание договор документ срочно сегодня"), encode: "utf-8"},
		{words: strings.Fields("請求書 ご注文 お支払い 確認 会議 報告書 配達 価格 見積 お知らせ 契約書 至急 本日"), encode: "utf-8"},
		{words: strings.Fields("فاتورة طلبك الدفع مؤكد حساب اجتماع تقرير تسليم سعر عرض تذكير عقد مستند عاجل اليوم"), encode: "utf-8"},
	}

	attachments = []string{"invoice-%d.pdf", "report-%d.xlsx", "photo-%d.jpg", "contract-%d.docx", "setup-%d.exe", "archive-%d.zip"}
)

// subject gives a raw subject, as it stands in the header.
func (l language) subject(d *dice) string {
	text := fmt.Sprintf("%s %d", sentence(d, l.words, 2+d.n(5)), d.n(100_000))
	if l.encode == "" {
		return text
	}
	return strings.ReplaceAll(mime.QEncoding.Encode(l.encode, text), "\r\n", "")
}

// content makes a message of about size octets; one in five has an attachment.
func (l language) content(d *dice, x *made, n uint64, size int) []byte {
	var b bytes.Buffer
	to := make([]string, len(x.to))
	for i, a := range x.to {
		to[i] = a.String()
	}
	fmt.Fprintf(&b, "Received: from out%d.%s by mx1.bench.example; Mon, 1 Jun 2026 10:00:00 +0000\r\nMessage-ID: <%x.%d@%s>\r\nFrom: <%s>\r\nTo: %s\r\nSubject: %s\r\nMIME-Version: 1.0\r\n",
		d.n(9), x.from.Domain, d.next(), n, x.from.Domain, x.from, strings.Join(to, ",\r\n "), x.subject)
	if !d.in(5) {
		b.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
		l.text(d, &b, size)
		return b.Bytes()
	}
	edge := fmt.Sprintf("=_%x", d.next())
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n--%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", edge, edge)
	l.text(d, &b, b.Len()+size/4)
	name := fmt.Sprintf(d.of(attachments), d.n(1000))
	fmt.Fprintf(&b, "--%s\r\nContent-Type: application/octet-stream; name=\"%s\"\r\nContent-Disposition: attachment; filename=\"%s\"\r\nContent-Transfer-Encoding: base64\r\n\r\n", edge, name, name)
	for raw := [57]byte{}; b.Len() < size; {
		for i := range raw { // half random: files are packed, but not all
			if i%2 == 0 {
				raw[i] = byte(d.next())
			}
		}
		b.WriteString(base64.StdEncoding.EncodeToString(raw[:]) + "\r\n")
	}
	fmt.Fprintf(&b, "--%s--\r\n", edge)
	return b.Bytes()
}

// text writes lines of words until the message has about size octets.
func (l language) text(d *dice, b *bytes.Buffer, size int) {
	for b.Len() < size {
		b.WriteString(sentence(d, l.words, 9) + "\r\n")
	}
}
