/*
 * What libbpf and the kernel's verifier say when they refuse something, as words for an operator. Nothing is printed.
 */
#ifndef FL_WORDS_H
#define FL_WORDS_H

/* From now on libbpf's warnings of this thread are kept, the last one only. */
void fl_words_listen(void);
/* Why a call of libbpf failed with this negative errno. */
const char *fl_words_for(int code);
/* Of a program that was refused with this code and log: ", which takes CAP_PERFMON besides CAP_BPF" or "". */
const char *fl_words_of_lack(int code, const char *log);
/* Of a verifier's log: the line that says what is wrong; and the whole log is left in FL_VERIFIER_LOG, if it can be. */
const char *fl_words_of_log(const char *log, const char **file);

#define FL_VERIFIER_LOG "/run/fairlead/verifier.log"

#endif
