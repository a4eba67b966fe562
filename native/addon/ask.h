/* ask(ifindex, questions, waitMs): for `fairlead doctor`, which waits for it. */
#ifndef FL_ADDON_ASK_H
#define FL_ADDON_ASK_H

#include <node_api.h>

/* questions: Uint8Array of struct fl_asked; gives a Uint8Array of struct fl_asked_answer. */
napi_value fl_addon_ask(napi_env env, napi_callback_info info);

#endif
