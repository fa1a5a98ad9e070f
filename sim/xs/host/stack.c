/*
 * File and line in the stack of an error. The engine keeps them only when it is built for its debugger; here they are read off the byte
 * code, where the parser leaves them for modules that it is told to (modules.c), up to where each frame stands. Linked with
 * --wrap=fxCaptureErrorStack.
 */
#include "xsAll.h"

#include "host.h"

extern void __real_fxCaptureErrorStack(txMachine* the, txSlot* internal, txSlot* frame);
void __wrap_fxCaptureErrorStack(txMachine* the, txSlot* internal, txSlot* frame);

/* Code in ROM has no lines. A position that a helper of the engine did not save is of another function: nothing is read past a chunk. */
static bool is_within(const txSlot* code, const txByte* position)
{
	const txByte* start = code->value.code.address;
	if (code->kind != XS_CODE_KIND)
		return false;
	return position >= start && position <= start + ((const txChunk*)(start - sizeof(txChunk)))->size;
}

/* Where the engine's debugger would have put them. */
static void mark_line(txSlot* environment, const txSlot* function_code, const txByte* position)
{
	txS2 line = 0;
	environment->ID = XS_NO_ID;
	if (is_within(function_code, position)) {
		const txByte* code = function_code->value.code.address;
		while (code < position) {
			if (*((const txU1*)code) == XS_CODE_FILE)
				memcpy(&environment->ID, code + 1, sizeof(txID));
			else if (*((const txU1*)code) == XS_CODE_LINE)
				memcpy(&line, code + 1, sizeof(line));
			code += host_code_step(code);
		}
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
				mark_line(mxFrameToEnvironment(each), code, position);
		}
		position = each->value.frame.code;
	}
	__real_fxCaptureErrorStack(the, internal, frame);
}
