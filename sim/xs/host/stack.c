/*
 * File and line in the stack of an error. The engine keeps them only when it is built for its debugger; here they are read off the byte
 * code, where the parser leaves them for modules that it is told to (modules.c), up to where each frame stands. Linked with
 * --wrap=fxCaptureErrorStack.
 */
#include "xsAll.h"

#include "host.h"

extern void __real_fxCaptureErrorStack(txMachine* the, txSlot* internal, txSlot* frame);
void __wrap_fxCaptureErrorStack(txMachine* the, txSlot* internal, txSlot* frame);

/* Where the engine's debugger would have put them. */
static void mark_line(txSlot* environment, const txByte* code, const txByte* limit)
{
	txS2 line = 0;
	environment->ID = XS_NO_ID;
	while (code < limit) {
		if (*((const txU1*)code) == XS_CODE_FILE)
			memcpy(&environment->ID, code + 1, sizeof(txID));
		else if (*((const txU1*)code) == XS_CODE_LINE)
			memcpy(&line, code + 1, sizeof(line));
		code += host_code_step(code);
	}
	environment->value.environment.line = (txU2)line;
}

void __wrap_fxCaptureErrorStack(txMachine* the, txSlot* internal, txSlot* frame)
{
	const txByte* position = the->code;
	for (txSlot* each = the->frame; each; each = each->next) {
		txSlot* function = each + 3;
		if (!(each->flag & XS_C_FLAG) && function->kind == XS_REFERENCE_KIND && mxIsFunction(function->value.reference)) {
			txSlot* code = mxFunctionInstanceCode(function->value.reference);
			if (code->kind == XS_CODE_KIND || code->kind == XS_CODE_X_KIND)
				mark_line(mxFrameToEnvironment(each), code->value.code.address, position);
		}
		position = each->value.frame.code;
	}
	__real_fxCaptureErrorStack(the, internal, frame);
}
