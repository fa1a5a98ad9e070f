/*
 * The two globals by which JavaScript reaches C, with the meaning they have in Moddable's compiler:
 *  native("xs_name")            the C function as a JavaScript function;
 *  Native("xs_x_destructor")    a class to extend: its instances carry host data that the C destructor frees.
 */
#include "xsAll.h"

#include "host.h"
#include "natives.h"

static void global_native(txMachine* the)
{
	txString name = fxToString(the, mxArgv(0));
	for (const host_native_function* entry = gx_native_functions; entry->name; entry++) {
		if (!strcmp(entry->name, name)) {
			fxNewHostFunction(the, (txCallback)entry->function, 0, XS_NO_ID, XS_NO_ID);
			mxPullSlot(mxResult);
			return;
		}
	}
	mxReferenceError("no native function %s", name);
}

/* The constructor that Native() returns: called by super(), it makes the host object that the derived class initializes. */
static void native_class_constructor(txMachine* the)
{
	txSlot* instance;
	txSlot* prototype;
	txSlot* host;
	if (mxIsUndefined(mxTarget))
		mxTypeError("a native class is extended, not called");
	mxPushSlot(mxTarget);
	fxGetPrototypeFromConstructor(the, &mxObjectPrototype);
	instance = fxNewObjectInstance(the);
	host = instance->next = fxNewSlot(the);
	host->flag = XS_INTERNAL_FLAG;
	host->kind = XS_HOST_KIND;
	host->value.host.data = C_NULL;
	for (prototype = instance->value.instance.prototype; prototype; prototype = prototype->value.instance.prototype) {
		txSlot* slot = prototype->next;
		if (slot && slot->kind == XS_HOST_KIND) {
			host->value.host.variant.destructor = slot->value.host.variant.destructor;
			break;
		}
	}
	mxPullSlot(mxResult);
}

static void global_native_class(txMachine* the)
{
	txString name = fxToString(the, mxArgv(0));
	for (const host_native_destructor* entry = gx_native_destructors; entry->name; entry++) {
		if (!strcmp(entry->name, name)) {
			fxNewHostObject(the, entry->destructor);
			fxNewHostConstructor(the, native_class_constructor, 0, XS_NO_ID);
			mxPullSlot(mxResult);
			return;
		}
	}
	mxReferenceError("no native destructor %s", name);
}

static void define_global(txMachine* the, txCallback callback, const char* name)
{
	txID id = fxNewNameC(the, (txString)name);
	fxNewHostFunction(the, callback, 1, id, XS_NO_ID);
	mxPush(mxGlobal);
	fxDefineID(the, id, XS_DONT_ENUM_FLAG, XS_DONT_ENUM_FLAG);
	mxPop();
}

void host_define_natives(txMachine* the)
{
	define_global(the, global_native, "native");
	define_global(the, global_native_class, "Native");
}
